"""What routing costs: time per stage, and whole requests against a direct call."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import yaml

from features.embedding import Embedder
from features.featurizer import FeatureConfig, build_embedder
from features.model_store import DEFAULT_MODEL
from features.query import Query
from serving import bootstrap
from serving.backends.standin import StandIn
from serving.errors import ServingError
from serving.settings import load

# fmt: off
_WORDS = (
    "the", "river", "crosses", "seven", "bridges", "before", "noon", "and", "every",
    "signal", "box", "keeps", "its", "own", "ledger", "of", "trains", "delays",
    "repairs", "prices", "coal", "steam", "copper", "maps", "letters", "winter", "harbour",
    "question", "answer",
)
# fmt: on
_START_S = 120.0
_TEXT_TOKENS = (20, 128, 512)

Tell: TypeAlias = Callable[[str], object]
"""Told in words what is done next."""


class BenchmarkError(ServingError):
    """A benchmark that could not be run."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the benchmark stopped: {why}")


@dataclass(frozen=True, slots=True)
class Stages:
    """Milliseconds of one query, medians over ``n`` queries; ``*_p95`` the 95th percentile."""

    tokens: int
    n: int
    embedding: float
    featurize: float
    predict_and_draw: float
    log: float
    total: float
    total_p95: float
    fp32_embedding: float


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second and milliseconds a request, medians over rounds, and their spread."""

    clients: int
    routed_per_s: float
    routed_low: float
    routed_high: float
    direct_per_s: float
    routed_p50_ms: float
    direct_p50_ms: float


def texts_of(tokens: int, n: int, embedder: Embedder, *, seed: int = 0) -> list[str]:
    """``n`` different texts of about ``tokens`` tokens."""
    rng = random.Random(seed)  # noqa: S311 - filler text
    texts = []
    for number in range(n):
        words = [f"Case {number}:"]
        count = 0
        while count < tokens:
            words.extend(rng.choices(_WORDS, k=max(1, (tokens - count) * 3 // 4)))
            count = embedder.count_tokens(" ".join(words))
        texts.append(" ".join(words))
    return texts


async def measure_stages(n: int, folder: Path, tell: Tell) -> list[Stages]:
    """Time each stage of routing, in this process, on a real log and the default policy."""
    settings = load(None, overrides=_sections(folder, "http://127.0.0.1:9/v1", port=0))
    services = await bootstrap.start(settings)
    try:
        embedder = build_embedder(FeatureConfig(cache_size=0), settings.models_dir)
        found = []
        for tokens in _TEXT_TOKENS:
            tell(f"stages: {n} queries of {tokens} tokens")
            texts = texts_of(tokens, n + 20, embedder, seed=tokens)
            fp32 = await asyncio.to_thread(_reference_ms, texts[:50], embedder.max_tokens)
            found.append(await _stages_of(services, embedder, tokens, texts, fp32))
        return found
    finally:
        await bootstrap.stop(services)


async def _stages_of(
    services: bootstrap.Services, embedder: Embedder, tokens: int, texts: list[str], fp32: float
) -> Stages:
    router, featurizer, scenario = services.router, services.featurizer, None
    lines = []
    for text in texts:
        query = Query([{"role": "user", "content": text}], datetime.now(UTC))
        began = time.perf_counter()
        embedder.embed([text])
        embedded = time.perf_counter()
        routed = await router.decide(query)
        decided = time.perf_counter()
        if not await router.write(routed):
            raise BenchmarkError("a decision could not be written")
        written = time.perf_counter()
        # The text is remembered by now: what is left is everything but the embedding.
        context = featurizer.featurize(query)
        lightly = time.perf_counter()
        scenario = routed.logged.decision.scenario
        services.holder.current.predict(context, routed.logged.decision.arms, scenario)
        predicted = time.perf_counter()
        lines.append(
            (
                embedded - began,
                (embedded - began) + (lightly - written),
                predicted - lightly,
                written - decided,
                written - embedded,
            )
        )
    columns = [[1000 * value for value in column] for column in zip(*lines[20:], strict=True)]
    embedding, featurize, predict, log, total = map(statistics.median, columns)
    return Stages(
        tokens=tokens,
        n=len(columns[0]),
        embedding=embedding,
        featurize=featurize,
        predict_and_draw=predict,
        log=log,
        total=total,
        total_p95=statistics.quantiles(columns[4], n=20)[18],
        fp32_embedding=fp32,
    )


def _reference_ms(texts: Sequence[str], max_tokens: int) -> float:
    command = [sys.executable, "-m", "features.reference", "--model", DEFAULT_MODEL]
    done = subprocess.run(  # noqa: S603 - our own module
        [*command, "--max-tokens", str(max_tokens)],
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        raise BenchmarkError(f"sentence-transformers: {done.stderr.strip()[-300:]}")
    times: list[float] = json.loads(done.stdout)
    return statistics.median(times)


async def measure_load(
    clients: Sequence[int], requests: int, rounds: int, folder: Path, tell: Tell
) -> tuple[list[Load], float]:
    """Whole requests through a server of its own against the same upstream called directly.

    Rounds alternate between the two, so that a machine that slows down slows both. One answer in
    ten is judged, so that learning is on. Returns the loads and the server's resident memory, MB.
    """
    tell("load: starting a server")
    upstream = StandIn()
    await upstream.start()
    try:
        async with _server(folder, upstream.base_url) as (url, pid):
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                caller = _Caller(session, url, upstream.base_url)
                await caller.round(8, 200, routed=True)
                loads = [await _load(caller, count, requests, rounds, tell) for count in clients]
            return loads, _resident_mb(pid)
    finally:
        await upstream.aclose()


async def _load(caller: "_Caller", clients: int, requests: int, rounds: int, tell: Tell) -> Load:
    routed, direct = [], []
    for number in range(1, rounds + 1):
        tell(f"load: {clients} at a time, round {number} of {rounds}, {requests} requests twice")
        direct.append(await caller.round(clients, requests, routed=False))
        routed.append(await caller.round(clients, requests, routed=True))
    rates = [rate for rate, _ in routed]
    return Load(
        clients,
        statistics.median(rates),
        min(rates),
        max(rates),
        statistics.median(rate for rate, _ in direct),
        statistics.median(p50 for _, p50 in routed),
        statistics.median(p50 for _, p50 in direct),
    )


class _Caller:
    """Sends requests with texts that never repeat, so that no embedding is remembered."""

    def __init__(self, session: aiohttp.ClientSession, url: str, upstream: str) -> None:
        self._session = session
        self._url = url
        self._upstream = upstream
        self._numbers = itertools.count()
        self._rng = random.Random(1)  # noqa: S311 - filler text

    async def round(self, clients: int, requests: int, *, routed: bool) -> tuple[float, float]:
        """(requests a second, median milliseconds of one)."""
        times: list[float] = []
        one: Callable[[], Awaitable[None]] = self._routed if routed else self._direct

        async def client(n: int) -> None:
            for _ in range(n):
                began = time.perf_counter()
                await one()
                times.append(time.perf_counter() - began)

        started = time.perf_counter()
        await asyncio.gather(*(client(max(1, requests // clients)) for _ in range(clients)))
        return len(times) / (time.perf_counter() - started), 1000 * statistics.median(times)

    def _body(self, model: str) -> dict[str, Any]:
        words = " ".join(self._rng.choices(_WORDS, k=14))
        content = f"Case {next(self._numbers)}: {words}"
        return {"model": model, "messages": [{"role": "user", "content": content}]}

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._once(url, body)
        except aiohttp.ClientConnectionError:
            # The other side closes connections that idled through the other kind's round.
            return await self._once(url, body)

    async def _once(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(url, json=body) as response:
            if response.status >= 300:
                raise BenchmarkError(f"{url} answered {response.status}")
            found: dict[str, Any] = await response.json()
            return found

    async def _direct(self) -> None:
        await self._post(f"{self._upstream}/chat/completions", self._body("stand-in"))

    async def _routed(self) -> None:
        answer = await self._post(f"{self._url}/v1/chat/completions", self._body("auto"))
        if next(self._numbers) % 10 == 0:
            vote = {"decision_id": answer["id"], "metric": "thumbs", "source": "bench"}
            await self._post(
                f"{self._url}/v1/feedback", {**vote, "value": self._rng.random() < 0.5}
            )


@contextlib.asynccontextmanager
async def _server(folder: Path, upstream: str) -> AsyncIterator[tuple[str, int]]:
    config = folder / "bench.yaml"
    config.write_text(yaml.safe_dump(_sections(folder, upstream, port=0)))
    log = (folder / "server.log").open("w+")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pointsman", "serve", "--config", str(config), stdout=log, stderr=log
    )
    try:
        url = await asyncio.wait_for(_announced(process, folder / "server.log"), _START_S)
        yield url, process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        log.close()


async def _announced(process: asyncio.subprocess.Process, log: Path) -> str:
    said = ""
    while process.returncode is None:
        said = await asyncio.to_thread(log.read_text)
        for line in said.splitlines():
            if " is ready on http://" in line:
                return line.rpartition(" ")[2]
        await asyncio.sleep(0.1)
    raise BenchmarkError(f"the server did not start: {said[-500:]}")


def _sections(folder: Path, upstream: str, *, port: int) -> dict[str, Any]:
    def arm(name: str, tier: str, price: float) -> dict[str, Any]:
        # Both arms call the same upstream, so that routing is all that differs.
        return {"id": name, "tier": tier, "backend": "openai", "model": f"bench-{name}",
                "base_url": upstream, "price_in": price, "price_out": price}  # fmt: skip

    return {
        "server": {"port": port, "log_level": "warning"},
        "database": {"data_dir": str(folder)},
        "arms": [arm("edge", "edge", 0.1), arm("cloud", "cloud", 5.0)],
    }


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def run(
    *, queries: int, requests: int, rounds: int, clients: Sequence[int], tell: Tell
) -> dict[str, Any]:
    """Everything, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        folder = Path(name)
        stages = asyncio.run(measure_stages(queries, folder, tell))
        loads, resident = asyncio.run(measure_load(clients, requests, rounds, folder, tell))
    return {
        "cores": os.cpu_count(),
        "stages_ms": [asdict(stage) for stage in stages],
        "load": [asdict(load_) for load_ in loads],
        "server_resident_mb": resident,
    }
