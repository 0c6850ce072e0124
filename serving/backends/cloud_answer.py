"""What an upstream's status, headers and bodies mean: an answer, or which error."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from serving.errors import (
    BackendError,
    BackendOverloadedError,
    BackendProtocolError,
    BackendRejectedError,
    BackendTimeoutError,
    BackendUnavailableError,
)

# Nothing that the caller could mend.
_OPERATORS: Mapping[int, str] = {
    401: "the key is refused",
    402: "the account there is out of quota",
    403: "the key is refused",
    407: "a proxy wants credentials",
    429: "the account there is out of quota",
}
_OUT_OF_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_DEFAULT_RETRY_S = 1.0
_LONGEST_RETRY_S = 3600.0


def retry_after_s(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """How long the upstream asks to be left alone, in seconds; None where it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value, unit) if _number(value, unit) is not None else _until(value, now)
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), _LONGEST_RETRY_S)
    return None


def _number(value: str, unit: float) -> float | None:
    try:
        return float(value) * unit
    except ValueError:
        return None


def _until(value: str, now: Callable[[], datetime]) -> float | None:
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - now()).total_seconds()


def parse(arm: str, raw: bytes | str) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    BackendProtocolError
        If it is something else.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BackendProtocolError(arm, "sent malformed JSON") from error
    if not isinstance(body, dict):
        raise BackendProtocolError(arm, "sent JSON that is not an object")
    return body


def refusal(arm: str, status: int, raw: bytes, *, retry_s: float | None) -> BackendError:
    """The error for a status that is not 200."""
    body = _error_body(status, raw)
    code = body["error"].get("code") or body["error"].get("type")
    if status == 429 and code not in _OUT_OF_QUOTA:
        wait_s = _DEFAULT_RETRY_S if retry_s is None else retry_s
        return BackendOverloadedError(arm, "rate limited (429)", wait_s)
    if status in _OPERATORS:
        return BackendUnavailableError(arm, f"{_OPERATORS[status]} ({status})")
    if status in (408, 504):
        return BackendTimeoutError(arm, f"the upstream timed out ({status})")
    if 400 <= status < 500:
        return BackendRejectedError(arm, status, body)
    if status >= 500:
        return BackendUnavailableError(arm, f"the upstream failed ({status})")
    return BackendProtocolError(arm, f"sent a status that is no answer ({status})")


def _error_body(status: int, raw: bytes) -> dict[str, Any]:
    """The upstream's error object where it has OpenAI's shape, else one that says the status."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return body
    told = body.get("error", body.get("message")) if isinstance(body, dict) else None
    message = told if isinstance(told, str) else f"the upstream refused the request ({status})"
    kind = "invalid_request_error"
    return {"error": {"message": message[:1000], "type": kind, "param": None, "code": None}}


def in_band(arm: str, body: Mapping[str, Any]) -> None:
    """Refuse a body that is an error under a status of 200.

    Raises
    ------
    BackendUnavailableError
        With the upstream's message.
    """
    error = body.get("error")
    if not error:
        return
    told = error.get("message") if isinstance(error, Mapping) else error
    raise BackendUnavailableError(arm, f"the upstream reports: {str(told)[:300]}")


def checked_completion(arm: str, raw: bytes) -> dict[str, Any]:
    """A ``chat.completion`` as it came.

    Raises
    ------
    BackendError
        If it is an error or no answer.
    """
    body = parse(arm, raw)
    in_band(arm, body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(map(_has_message, choices)):
        raise BackendProtocolError(arm, "sent JSON that is not a chat completion")
    return body


def _has_message(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict)
