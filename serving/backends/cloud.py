"""The cloud arm: any OpenAI-compatible API over HTTP."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from httpx_aiohttp import AiohttpTransport

from features.query import Query
from serving.backends import cloud_answer, cloud_query
from serving.backends.base import Chunk, Completion, Load
from serving.backends.cloud_config import CloudConfig
from serving.backends.cloud_stream import CloudStream
from serving.backends.inflating import BadBodyError, Inflater
from serving.backends.retrying import Retrier, WorthRetryingError
from serving.backends.sse_reader import BadEventStreamError
from serving.errors import (
    BackendError,
    BackendOverloadedError,
    BackendProtocolError,
    BackendTimeoutError,
    BackendUnavailableError,
)

__all__ = ["CloudBackend", "CloudConfig"]  # whoever makes the one needs the other

T = TypeVar("T")

_TROUBLE_S = 10.0
_MAX_ERROR_BYTES = 256 * 1024


class CloudBackend:
    """Answers by asking an upstream; see `serving.backends.base.Backend`.

    What it says comes back as it came; numbers such as usage are checked by whoever uses them.

    Parameters
    ----------
    clock
        Monotonic, in seconds.
    now
        Wall clock, for a ``Retry-After`` that is a date.
    rng
        For the jitter of retries.
    """

    def __init__(
        self,
        config: CloudConfig,
        *,
        arm_id: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        self.arm_id = arm_id
        self._config = config
        self._clock = clock
        self._now = now
        self._retrier = Retrier(config.retry, rng=rng or random.Random())  # noqa: S311 - jitter
        self._upstream: _Upstream | None = None
        self._running = 0
        self._refused_at: float | None = None

    async def start(self) -> None:
        """Prepare the client; connects to nothing."""
        if self._upstream is None:
            self._upstream = _Upstream(self._config)

    async def complete(self, query: Query) -> Completion:
        """The whole answer."""
        payload = cloud_query.whole(query, model=self._config.model)
        with self._counted():
            work = self._retrier.run(lambda: self._fetch(payload), give_up_at=self._give_up_at())
            body = await self._within(self._config.deadline_s, work, "full answer")
        return Completion(self._named(body))

    async def stream(self, query: Query) -> AsyncIterator[Chunk]:
        """The answer in chunks."""
        payload = cloud_query.streamed(
            query, model=self._config.model, ask_usage=self._config.ask_usage
        )
        give_up_at = self._give_up_at()
        with self._counted():
            opening = self._retrier.run(lambda: self._open(payload), give_up_at=give_up_at)
            first_in_s = min(self._config.ttft_s, self._config.deadline_s)
            events = await self._within(first_in_s, opening, "first token")
            try:
                async with aclosing(self._bodies(events, give_up_at)) as bodies:
                    async for body in bodies:
                        yield Chunk(self._named(body))
            finally:
                await events.aclose()

    def load(self) -> Load:
        """Queries that are out; an API shows no queue."""
        return Load(running=self._running)

    def health(self) -> tuple[bool, str]:
        """False for a while after the key was refused; asks nobody."""
        if self._upstream is None:
            return False, "not started"
        where = urlsplit(self._config.base_url).netloc
        if self._refused_at is not None and self._clock() - self._refused_at < _TROUBLE_S:
            return False, f"{where} refuses the key (setting api_key)"
        return True, f"{self._config.model} at {where}"

    async def aclose(self) -> None:
        """Close every connection."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.aclose()

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        model = body.get("model")
        return body if isinstance(model, str) and model else {**body, "model": self._config.model}

    def _give_up_at(self) -> float:
        return asyncio.get_running_loop().time() + self._config.deadline_s

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _within(self, limit_s: float, work: Awaitable[T], what: str) -> T:
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except TimeoutError:
            raise BackendTimeoutError(self.arm_id, f"no {what} within {limit_s:g} s") from None

    async def _send(self, payload: bytes) -> httpx.Response:
        """A response with status 200 whose body is still to come.

        Raises
        ------
        WorthRetryingError
            For what may be over a moment later.
        BackendError
            For the rest.
        """
        if self._upstream is None:
            raise BackendUnavailableError(self.arm_id, "not started")
        with self._first_byte():
            response = await self._upstream.post(payload)
        if response.status_code == 200:
            self._refused_at = None
            return response
        try:
            with self._translated():
                raw = await self._read(response, _MAX_ERROR_BYTES)
        finally:
            await response.aclose()
        raise self._refusal(response, raw)

    def _refusal(self, response: httpx.Response, raw: bytes) -> Exception:
        status = response.status_code
        wait_s = cloud_answer.retry_after_s(response.headers, self._now)
        if self._config.key:  # some upstreams repeat it in their message
            raw = raw.replace(self._config.key.encode(), b"***")
        error = cloud_answer.refusal(self.arm_id, status, raw, retry_s=wait_s)
        if status in (401, 403):
            self._refused_at = self._clock()
        passing = status >= 500 or isinstance(error, BackendOverloadedError)
        return WorthRetryingError(error, wait_s=wait_s) if passing else error

    async def _fetch(self, payload: bytes) -> dict[str, Any]:
        response = await self._send(payload)
        try:
            with self._translated():
                self._expect(response, "json")
                raw = await self._read(response, self._config.max_body_bytes)
        finally:
            await response.aclose()
        return cloud_answer.checked_completion(self.arm_id, raw)

    async def _open(self, payload: bytes) -> CloudStream:
        """A stream that has begun."""
        response = await self._send(payload)
        try:
            with self._translated():
                self._expect(response, "event-stream")
                events = CloudStream(
                    self.arm_id,
                    response.aiter_raw(),
                    response.aclose,
                    encoding=_encoding(response),
                    max_line_bytes=self._config.max_line_bytes,
                    max_body_bytes=self._config.max_body_bytes,
                )
            with self._first_byte():
                await events.peek()
        except BaseException:
            await response.aclose()
            raise
        return events

    async def _bodies(
        self, events: CloudStream, give_up_at: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        now = asyncio.get_running_loop().time
        while True:
            limit_s = self._config.linger_s if events.finished else self._config.stall_s
            try:
                async with asyncio.timeout_at(min(now() + limit_s, give_up_at)):
                    with self._translated():
                        body = await events.next()
            except (TimeoutError, BackendError) as error:
                if events.finished:  # all was said; at most usage is missing
                    return
                if isinstance(error, TimeoutError):
                    raise BackendTimeoutError(self.arm_id, self._stalled(give_up_at)) from None
                raise
            if body is None:
                return
            yield body

    def _stalled(self, give_up_at: float) -> str:
        if asyncio.get_running_loop().time() >= give_up_at:
            return f"no full answer within {self._config.deadline_s:g} s"
        return f"the answer stalled for {self._config.stall_s:g} s"

    async def _read(self, response: httpx.Response, max_bytes: int) -> bytes:
        inflater = Inflater(_encoding(response), max_bytes=max_bytes)
        return b"".join([inflater.feed(raw) async for raw in response.aiter_raw()])

    def _expect(self, response: httpx.Response, kind: str) -> None:
        found = response.headers.get("content-type", kind).partition(";")[0]
        if kind not in found:
            raise BackendProtocolError(self.arm_id, f"sent {found[:60]}, not {kind}")

    @contextmanager
    def _first_byte(self) -> Iterator[None]:
        """As `_translated`; a connection that fails now may be tried again."""
        try:
            with self._translated():
                yield
        except _LostError as error:
            raise WorthRetryingError(error) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns whatever goes wrong underneath into a `BackendError`."""
        try:
            yield
        except (BackendError, WorthRetryingError):
            raise
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise BackendTimeoutError(self.arm_id, "the upstream is too slow") from error
        except httpx.TransportError as error:
            # The transport calls a refused connection a timeout, so they are told apart no further.
            raise _LostError(self.arm_id, "the connection failed or was lost") from error
        except (BadBodyError, BadEventStreamError) as error:
            raise BackendProtocolError(self.arm_id, str(error)) from error
        except Exception as error:
            # What the transport does not translate, such as a broken status line.
            why = f"broke the protocol ({type(error).__name__})"
            raise BackendProtocolError(self.arm_id, why) from error


class _LostError(BackendUnavailableError):
    """No connection, or no longer."""


def _encoding(response: httpx.Response) -> str:
    return str(response.headers.get("content-encoding", ""))


class _Upstream:
    """Posts to one address; all that is the same for every query is made once.

    The client only lends its defaults: a redirect, a cookie or a proxy is never followed, so the
    transport is asked directly, which takes a third of the time.
    """

    def __init__(self, config: CloudConfig) -> None:
        limits = httpx.Limits(max_connections=config.max_connections, keepalive_expiry=15.0)
        self._transport = AiohttpTransport(limits=limits, trust_env=False)
        self._client = _new_client(config, self._transport)
        made = self._client.build_request("POST", config.url)
        del made.headers["content-length"]
        self._url, self._headers, self._extensions = made.url, made.headers, made.extensions

    async def post(self, payload: bytes) -> httpx.Response:
        """The beginning of a response; whoever gets it closes it."""
        request = httpx.Request(
            "POST",
            self._url,
            headers=self._headers,
            content=payload,
            extensions=self._extensions,
        )
        response: httpx.Response = await self._transport.handle_async_request(request)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _new_client(config: CloudConfig, transport: AiohttpTransport) -> httpx.AsyncClient:
    timeout = httpx.Timeout(
        connect=config.connect_s,
        read=config.deadline_s,
        write=config.write_s,
        # This transport counts the connecting as part of the wait for a connection.
        pool=config.connect_s + config.pool_s,
    )
    return httpx.AsyncClient(
        transport=transport,
        headers={
            "content-type": "application/json",
            # Answers are small, and a compressed one may be a bomb.
            "accept-encoding": "identity",
            **({"authorization": f"Bearer {config.key}"} if config.key else {}),
            **config.headers,
        },
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
    )
