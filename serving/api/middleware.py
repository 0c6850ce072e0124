"""What wraps every request."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Sequence

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import response
from serving.errors import BackendError, BackendOverloadedError, BackendUnavailableError
from serving.metrics import Metrics

_REQUEST_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}\Z")


def request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The caller's ``x-request-id`` (or ``x-client-request-id``) if it is safe, else a new one."""
    for wanted in (b"x-request-id", b"x-client-request-id"):
        for name, value in headers:
            if name == wanted and _REQUEST_ID.match(value.decode("latin-1")):
                return value.decode("latin-1")
    return f"req_{secrets.token_hex(16)}"


class RequestMiddleware:
    """Request id, one log line, one count, no unforeseen error that escapes, a cap on concurrency.

    Plain ASGI: it wraps `send`, never buffers, and lets cancellations pass.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        draining: asyncio.Event,
        most_in_flight: int = 1024,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._draining = draining
        self._most = most_in_flight
        self._timer = timer
        self._in_flight = 0
        self._log = structlog.get_logger("pointsman.request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = _Watch(send, request_id(scope["headers"]), self._timer)
        scope["pointsman.request_id"] = watch.request_id
        self._in_flight += 1
        try:
            await self._run(scope, receive, watch)
        finally:
            self._in_flight -= 1
            self._finish(scope, watch)

    async def _run(self, scope: Scope, receive: Receive, watch: "_Watch") -> None:
        refusal = None if scope["path"].startswith("/health") else self._refusal()
        if refusal is not None:
            await response(refusal)(scope, receive, watch.send)
            return
        try:
            await self._app(scope, receive, watch.send)
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is, the caller gets an answer and the log the trace
            self._log.exception("unforeseen error", request_id=watch.request_id)
            if watch.status is None:
                await response(error)(scope, receive, watch.send)

    def _refusal(self) -> BackendError | None:
        if self._draining.is_set():
            return BackendUnavailableError("server", "it is stopping; try again")
        if self._in_flight > self._most:
            return BackendOverloadedError("server", "too many requests in flight; try again", 1.0)
        return None

    def _finish(self, scope: Scope, watch: "_Watch") -> None:
        endpoint = _endpoint(scope)
        status = watch.status or 499
        self._metrics.requests.labels(endpoint, str(status)).inc()
        if endpoint.startswith(("/health", "/metrics")) and status < 500:
            return
        self._log.info(
            "request",
            request_id=watch.request_id,
            method=scope["method"],
            endpoint=endpoint,
            status=status,
            ms=round((self._timer() - watch.started) * 1000, 2),
            **scope.get("pointsman.facts", {}),
        )


def _endpoint(scope: Scope) -> str:
    """The path as the routes have it, so that what a client makes up never becomes a label."""
    if "endpoint" not in scope:
        return "other"
    path = str(getattr(scope.get("route"), "path", scope["path"]))
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(str(value), f"{{{name}}}")
    return path


class _Watch:
    """Looks at what is sent: adds the request id, keeps the status."""

    def __init__(self, send: Send, request_id: str, timer: Callable[[], float]) -> None:
        self._send = send
        self.request_id = request_id
        self.started = timer()
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
            message = {**message, "headers": headers}
        await self._send(message)
