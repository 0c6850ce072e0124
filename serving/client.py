"""A running server, as the command line asks it."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import UNAUTHORIZED
from typing import Any

from serving.errors import ServingError

_TIMEOUT_S = 60.0


class CallError(ServingError):
    """The server could not be reached, or refused."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url}: {why}")


def call(url: str, *, key: str | None = None, body: Any = None) -> Any:
    """What the server answers: GET without ``body``, else POST it as JSON.

    Raises
    ------
    CallError
        With the server's own words where it has any.
    """
    return exchange(url, key=key, body=body)[0]


def exchange(
    url: str, *, key: str | None = None, body: Any = None
) -> tuple[Any, Mapping[str, str]]:
    """What the server answers, and the headers of its reply, names in lower case.

    Raises
    ------
    CallError
        With the server's own words where it has any.
    """
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - the operator's own URL
    except ValueError:
        raise CallError(url, "not a URL; want one such as http://127.0.0.1:8080") from None
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - as above
            named = {name.lower(): value for name, value in reply.headers.items()}
            return json.load(reply), named
    except urllib.error.HTTPError as error:
        raise CallError(url, _words(error)) from None
    except (OSError, ValueError) as error:
        raise CallError(url, f"{error}; is the server running?") from None


def _words(error: urllib.error.HTTPError) -> str:
    try:
        message = json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError, OSError):
        return f"status {error.code}"
    remedy = "; give --key, or set POINTSMAN_KEY" if error.code == UNAUTHORIZED else ""
    return f"status {error.code}: {message}{remedy}"
