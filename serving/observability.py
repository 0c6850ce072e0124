"""Structured logs, without what a person wrote and without anything that looks like a key.

Redaction sits at the end of the processor chain, where no caller can go around it.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import orjson
import structlog

_KEY_LIKE = re.compile(
    r"\b(sk-pm-[a-z0-9]{4,12})-[A-Za-z0-9]+|\b(sk-[A-Za-z0-9]{2})[A-Za-z0-9_-]{8,}"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")
_SECRET_NAMES = frozenset(
    {"authorization", "api_key", "apikey", "password", "secret", "token", "dsn"}
)


def redact(text: str) -> str:
    """``text`` without keys, bearer tokens and passwords in URLs.

    Examples
    --------
    >>> redact("Authorization: Bearer sk-abcdefghijklmnop")
    'Authorization: Bearer ***'
    >>> redact("postgresql://me:secret@db/x")
    'postgresql://me:***@db/x'
    """
    text = _BEARER.sub(r"\1 ***", text)
    text = _KEY_LIKE.sub(lambda m: (m.group(1) or m.group(2)) + "-***", text)
    return _PASSWORD_IN_URL.sub(r"\1:***@", text)


def _clean(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return redact(value[:2000])
    if isinstance(value, Mapping) and depth < 4:
        return {
            str(name): "***" if str(name).lower() in _SECRET_NAMES else _clean(item, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)) and depth < 4:
        return [_clean(item, depth + 1) for item in value[:50]]
    return value if isinstance(value, (int, float, bool, type(None))) else redact(repr(value)[:500])


def _redact_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    cleaned: MutableMapping[str, Any] = _clean(event)
    return cleaned


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(level: str, style: Literal["json", "console"]) -> None:
    """One line per event on standard error, for structlog and the standard library alike."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    tail = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,  # what nobody will read costs nothing
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _redact_event,
                tail,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "httpx", "httpcore", "alembic", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
