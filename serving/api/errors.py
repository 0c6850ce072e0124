"""Errors as HTTP: the only place that knows status codes.

Every body has OpenAI's shape, ``{"error": {"message", "type", "param", "code"}}``, whatever went
wrong and on whatever path, so that OpenAI clients raise the exception that their users expect.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bandit.errors import (
    BadInteractionError,
    BadSnapshotError,
    BanditError,
    NoEligibleArmError,
    PointsmanError,
)
from bandit.utility import BadScenarioError
from features.errors import FeatureError
from feedback.errors import (
    BadFeedbackError,
    FeedbackError,
    FencedError,
    IdempotencyConflictError,
    LogUnavailableError,
    OutcomeConflictError,
    UnknownDecisionError,
)
from serving.errors import (
    BackendOverloadedError,
    BackendProtocolError,
    BackendRejectedError,
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    BudgetExceededError,
    BudgetUnknownError,
    ForbiddenError,
    ForeignPageError,
    KeyLimitError,
    ModelNotFoundError,
    QuestionsError,
    RateLimitError,
    ReloadRefusedError,
    ServingError,
    SettingsError,
    TooLargeError,
    UnauthorizedError,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An error as it leaves: status, OpenAI-shaped body, extra headers."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


_REQUEST, _SERVER, _LIMIT = "invalid_request_error", "server_error", "rate_limit_error"

STATUS: Mapping[type[PointsmanError], tuple[int, str, str]] = {
    NoEligibleArmError: (400, _REQUEST, "no_eligible_arm"),
    BadInteractionError: (500, _SERVER, "internal_error"),
    BadSnapshotError: (500, _SERVER, "bad_snapshot"),
    BadScenarioError: (400, _REQUEST, "bad_scenario"),
    FeatureError: (500, _SERVER, "features_failed"),
    BadFeedbackError: (422, _REQUEST, "invalid_value"),
    UnknownDecisionError: (404, _REQUEST, "decision_not_found"),
    IdempotencyConflictError: (409, _REQUEST, "idempotency_conflict"),
    OutcomeConflictError: (409, _REQUEST, "outcome_conflict"),
    LogUnavailableError: (503, _SERVER, "log_unavailable"),
    FencedError: (503, _SERVER, "learner_fenced"),
    FeedbackError: (500, _SERVER, "feedback_failed"),
    BanditError: (500, _SERVER, "internal_error"),
    ServingError: (500, _SERVER, "internal_error"),
    SettingsError: (500, _SERVER, "bad_settings"),
    ReloadRefusedError: (422, _REQUEST, "bad_settings"),
    BadRequestError: (400, _REQUEST, "invalid_request"),
    ModelNotFoundError: (404, _REQUEST, "model_not_found"),
    UnauthorizedError: (401, "authentication_error", "invalid_api_key"),
    ForbiddenError: (403, "permission_error", "missing_scope"),
    KeyLimitError: (403, "permission_error", "beyond_key_limits"),
    RateLimitError: (429, _LIMIT, "rate_limit_exceeded"),
    ForeignPageError: (403, "permission_error", "foreign_page"),
    QuestionsError: (500, _SERVER, "bad_questions"),
    TooLargeError: (413, _REQUEST, "body_too_large"),
    BudgetExceededError: (429, "insufficient_quota", "budget_exceeded"),
    BudgetUnknownError: (503, _SERVER, "budget_unknown"),
    BackendUnavailableError: (503, _SERVER, "arm_unavailable"),
    BackendTimeoutError: (504, "timeout_error", "arm_timeout"),
    BackendOverloadedError: (429, _LIMIT, "rate_limit_exceeded"),
    BackendRejectedError: (400, _REQUEST, "rejected_by_arm"),
    BackendProtocolError: (502, _SERVER, "bad_answer_from_arm"),
}
"""Error to HTTP status, ``type`` and ``code``; a class inherits from its nearest ancestor."""

_RETRY_AFTER_S: Mapping[type[PointsmanError], float] = {
    LogUnavailableError: 1.0,
    BackendUnavailableError: 2.0,
}
# What OpenAI's own server says of the HTTP errors that are not ours.
_PLAIN = {
    404: ("unknown_url", "no such path; see /docs for the ones there are"),
    405: ("method_not_allowed", "this path does not take that method"),
}
_UPSTREAM_CREDENTIALS = frozenset({401, 403, 407})


def body(message: str, kind: str, *, code: str | None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def describe(error: BaseException) -> Reply:
    """What to tell the caller, for a response or as an in-band stream error.

    An error that nobody foresaw says nothing of itself: its text may hold what must not leave.
    """
    if isinstance(error, BackendRejectedError):
        return _rejected(error)
    if isinstance(error, HTTPException):
        return _plain(error)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, ClientDisconnect):
        return Reply(400, body("the client went away", _REQUEST, code="client_disconnected"))
    for cls in type(error).__mro__:
        if cls in STATUS:
            status, kind, code = STATUS[cls]
            param = _param(error)
            code = getattr(error, "code", None) or code
            return Reply(
                status, body(str(error), kind, code=code, param=param), _headers(error, status)
            )
    message = "internal error; the server's log has it under this x-request-id"
    return Reply(500, body(message, _SERVER, code="internal_error"))


def _param(error: BaseException) -> str | None:
    found = getattr(error, "param", None) or getattr(error, "field", None)
    if found is None and isinstance(error, ModelNotFoundError):
        return "model"
    return found if isinstance(found, str) else None


def _headers(error: BaseException, status: int) -> dict[str, str]:
    if status == 401:  # RFC 9110 section 11.6.1 wants it
        return {"www-authenticate": "Bearer"}
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is None:
        wait_s = next((s for cls, s in _RETRY_AFTER_S.items() if isinstance(error, cls)), None)
    if wait_s is None:
        return {}
    # OpenAI's clients try a 429 again at once unless they are told that it is no use.
    over = isinstance(error, BudgetExceededError) and not error.passing
    final = {"x-should-retry": "false"} if over else {}
    return {
        **final,
        "retry-after": str(max(1, math.ceil(wait_s))),
        "retry-after-ms": str(max(1, math.ceil(wait_s * 1000))),
    }


def _rejected(error: BackendRejectedError) -> Reply:
    if error.status in _UPSTREAM_CREDENTIALS:
        # The caller's key is fine; passing a 401 on would send them looking in the wrong place.
        message = f"{error.arm}: the model's provider refused this server's credentials"
        return Reply(502, body(message, _SERVER, code="upstream_credentials"))
    if isinstance(error.body.get("error"), Mapping):
        return Reply(error.status, error.body)
    return Reply(error.status, body(str(error), _REQUEST, code="rejected_by_arm"))


def _invalid(error: RequestValidationError) -> Reply:
    # FastAPI's own answer echoes the value, which may be half a megabyte, or not JSON at all.
    first = error.errors()[0] if error.errors() else {"loc": (), "msg": "invalid request"}
    where = ".".join(str(part) for part in first["loc"][1:]) or None
    message = f"{where}: {first['msg']}" if where else str(first["msg"])
    return Reply(422, body(message, _REQUEST, code="invalid_value", param=where))


def _plain(error: HTTPException) -> Reply:
    code, message = _PLAIN.get(error.status_code, ("http_error", str(error.detail)))
    kind = _REQUEST if error.status_code < 500 else _SERVER
    return Reply(error.status_code, body(message, kind, code=code), error.headers or {})


def response(error: BaseException) -> Response:
    """The error as a whole HTTP response."""
    reply = describe(error)
    return Response(
        orjson.dumps(reply.body),
        status_code=reply.status,
        headers=dict(reply.headers),
        media_type="application/json",
    )


async def _handle(_: Request, error: Exception) -> Response:
    return response(error)


def install(app: FastAPI) -> None:
    """Make every error that leaves ``app`` one of ours."""
    for cls in (PointsmanError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(cls, _handle)
