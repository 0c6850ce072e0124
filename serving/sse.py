"""Server-sent events as OpenAI's clients read them."""

from collections.abc import Mapping
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"
"""The end of a stream that ended well; one that failed ends with an error instead."""

HEADERS: Mapping[str, str] = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
"""What keeps proxies from holding events back."""


def comment(text: str) -> bytes:
    r"""A line that clients skip, and that keeps them and proxies from giving up.

    Examples
    --------
    >>> comment("still at it")
    b': still at it\n\n'
    """
    return f": {text}\n\n".encode()


def event(body: Mapping[str, Any]) -> bytes:
    r"""One event.

    Examples
    --------
    >>> event({"id": "x"})
    b'data: {"id":"x"}\n\n'
    """
    return b"data: " + orjson.dumps(body) + b"\n\n"
