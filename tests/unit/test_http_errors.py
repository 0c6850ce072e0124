"""Errors as HTTP, and bodies as objects."""

import importlib
import pkgutil

import pytest
from starlette.exceptions import HTTPException

import bandit
import features
import feedback
import serving
from bandit.errors import PointsmanError
from feedback.errors import LogUnavailableError
from serving.api.dependencies import MAX_DEPTH, parse_object
from serving.api.errors import STATUS, describe
from serving.errors import (
    BackendOverloadedError,
    BackendRejectedError,
    BadRequestError,
    ModelNotFoundError,
    TooLargeError,
    UnauthorizedError,
)


def concrete_errors():
    for package in (bandit, features, feedback, serving):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rsplit(".", 1)[-1] == "errors":
                importlib.import_module(module.name)
    found, left = [], [PointsmanError]
    while left:
        below = left.pop().__subclasses__()
        found += [cls for cls in below if not cls.__subclasses__()]
        left += below
    # A server never raises the simulator's.
    return [cls for cls in found if not cls.__module__.startswith(("simulator", "tests"))]


@pytest.mark.parametrize("cls", concrete_errors(), ids=lambda cls: cls.__name__)
def test_every_concrete_error_has_a_status(cls):
    assert any(ancestor in STATUS for ancestor in cls.__mro__)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequestError("no", "messages"), 400, "invalid_request"),
        (
            BadRequestError("no", "messages", "context_length_exceeded"),
            400,
            "context_length_exceeded",
        ),
        (UnauthorizedError(), 401, "invalid_api_key"),
        (ModelNotFoundError("x", ("auto",)), 404, "model_not_found"),
        (TooLargeError(10), 413, "body_too_large"),
        (LogUnavailableError("away"), 503, "log_unavailable"),
        (HTTPException(404), 404, "unknown_url"),
        (HTTPException(405), 405, "method_not_allowed"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
def test_an_error_has_openais_shape(error, status, code):
    reply = describe(error)
    assert reply.status == status
    assert set(reply.body["error"]) == {"message", "type", "param", "code"}
    assert reply.body["error"]["code"] == code


def test_an_unforeseen_error_says_nothing_of_itself():
    assert "secret" not in str(describe(RuntimeError("secret")).body)


def test_a_wait_is_told_in_whole_seconds_and_in_milliseconds():
    reply = describe(BackendOverloadedError("edge", "full", 0.25))
    assert reply.status == 429
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("1", "250")


def test_a_missing_database_asks_to_come_back():
    assert describe(LogUnavailableError("away")).headers["retry-after"] == "1"


def test_what_the_model_refused_is_passed_on():
    body = {"error": {"message": "too long", "type": "x", "param": None, "code": "y"}}
    reply = describe(BackendRejectedError("cloud", 400, body))
    assert (reply.status, reply.body) == (400, body)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_the_provider_refused_are_not_the_callers(status):
    body = {"error": {"message": "bad key sk-123", "type": "x", "param": None, "code": "y"}}
    reply = describe(BackendRejectedError("cloud", status, body))
    assert reply.status == 502
    assert "sk-123" not in str(reply.body)


def test_the_deepest_body_that_is_taken():
    depth = MAX_DEPTH - 1
    assert parse_object(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")
    with pytest.raises(BadRequestError, match="nested deeper"):
        parse_object(b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")


def test_many_brackets_side_by_side_are_not_deep():
    assert parse_object(b'{"a": [' + b"[]," * 10_000 + b"[]]}")


def test_an_unclosed_text_full_of_brackets_is_refused_without_harm():
    with pytest.raises(BadRequestError):
        parse_object(b'{"a": "' + b"[" * 100_000)
