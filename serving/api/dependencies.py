"""What every endpoint does first: find the services, know the caller, read a bounded body."""

import re
from dataclasses import replace
from typing import Any, cast

import numpy as np
import orjson
from starlette.requests import Request

from serving.bootstrap import Services
from serving.errors import BadRequestError, ForeignPageError, TooLargeError
from serving.keys import EVERYONE, Principal, Scope
from serving.selector import Wish

MAX_DEPTH = 64
"""Brackets within brackets that a body may have; deeper ones are no honest request."""

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_LOCAL_ORIGIN = re.compile(r"^https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?\Z")
_NOT_JSON_NUMBER = re.compile(rb"[\[:,\s](-?Infinity|NaN)\b")
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1


def services(request: Request) -> Services:
    """Everything that was started for this process."""
    return cast("Services", request.app.state.services)


def note(request: Request, **facts: Any) -> None:
    """Add facts to the one log line of this request; never text that a person wrote."""
    request.scope.setdefault("pointsman.facts", {}).update(facts)


def authorise(request: Request, scope: Scope) -> Principal:
    """Who asks, if they may.

    Raises
    ------
    UnauthorizedError
        Without a valid key where one is needed.
    ForbiddenError
        If the key lacks ``scope``.
    RateLimitError
        If the key asks more often than it may.
    ForeignPageError
        If a web page from elsewhere asks a server without keys.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if kind.lower() == "bearer" else None
    at = services(request)
    principal = at.keys.authenticate(given)
    at.rates.admit(principal.key_id, principal.limits.max_requests_per_minute)
    principal.require(scope)
    if principal == EVERYONE and _from_elsewhere(request.headers.get("origin")):
        raise ForeignPageError
    note(request, key_id=principal.key_id)
    return principal


def admitted(request: Request, principal: Principal, wish: Wish) -> Wish:
    """How the query is routed, if this key may ask for that.

    Raises
    ------
    KeyLimitError
        If it may not.
    BadRequestError
        If it claims to be of another tag than the key's.
    """
    default = services(request).router.selector.default_scenario
    wish = principal.limits.admit(wish, default=default)
    return replace(wish, tags=principal.tagged(wish.tags))


def _from_elsewhere(origin: str | None) -> bool:
    """Whether a browser sends this for a page that is not on this machine.

    Browsers post plain text across sites without asking first, so any page could spend money at a
    server that needs no key.
    """
    return origin is not None and not _LOCAL_ORIGIN.match(origin)


async def read_body(request: Request) -> bytes:
    """The whole body.

    Raises
    ------
    TooLargeError
        As soon as it is known to be over the limit, from its header or by counting.
    """
    limit = services(request).settings.server.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise TooLargeError(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLargeError(limit)
        parts.append(part)
    return b"".join(parts)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in ``raw``; of a name that comes twice the last one counts.

    Raises
    ------
    BadRequestError
        If it is not valid JSON in UTF-8 (``NaN``, ``Infinity`` and numbers beyond a float are not),
        not an object, nested deeper than `MAX_DEPTH`, or has a NUL character or half a surrogate
        pair anywhere: neither can be stored.

    Examples
    --------
    >>> parse_object(b'{"value": 0.5}')
    {'value': 0.5}
    """
    if _too_deep(raw):
        raise BadRequestError(f"the body is nested deeper than {MAX_DEPTH} levels", code="too_deep")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(_explain(raw, error), code="invalid_json") from None
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object", code="invalid_json")
    if b"\\u0000" in raw and _NUL.search(raw):
        raise BadRequestError(
            "the body has a NUL character (\\u0000) in a string; remove it", code="nul_character"
        )
    return value


def _too_deep(raw: bytes) -> bool:
    """Whether brackets outside strings nest too deep; no recursion, a few ms for 4 MiB."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    steps = _STEP[np.frombuffer(_STRINGS.sub(b"", raw), dtype=np.uint8)]
    return bool(np.cumsum(steps, dtype=np.int32).max(initial=0) > MAX_DEPTH)


def _explain(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if _NOT_JSON_NUMBER.search(raw):
        return "the body is not valid JSON: NaN and Infinity are not JSON numbers"
    if "surrogate" in error.msg:
        return f"the body has half a surrogate pair or is not valid UTF-8 ({error})"
    return f"the body is not valid JSON: {error}"
