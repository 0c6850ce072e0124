"""The stand-in's HTTP side: an OpenAI-compatible server, as an ASGI application with no framework.

It is the upstream of benchmarks too, so it does little for each request.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import orjson

from serving.backends.standin_answers import MODEL, NO_KEY, answer, text_of, tool_call

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the stand-in behaves; changed by ``POST /standin/behaviour``.

    Attributes
    ----------
    quality
        ``good`` answers what it knows rightly, ``bad`` wrongly.
    latency_s
        Wait before an answer, in seconds.
    error_rate, status
        Share of requests that fail, in [0, 1], and the status that they fail with.
    """

    quality: str = "good"
    latency_s: float = 0.0
    error_rate: float = 0.0
    status: int = 503

    def changed(self, asked: Mapping[str, Any]) -> "Behaviour":
        """The same with the fields of ``asked``; ValueError or TypeError for nonsense."""
        new = replace(self, **asked)
        fine = new.quality in ("good", "bad") and 0 <= new.latency_s <= 600
        if not fine or not 0 <= new.error_rate <= 1 or not 400 <= new.status < 600:
            raise ValueError(asked)
        return new


class StandInApp:
    """The application.

    Parameters
    ----------
    key
        Questions that it knows the answers to, besides a few small things.
    """

    def __init__(self, *, rng: random.Random, key: Mapping[str, Any] = NO_KEY) -> None:
        self._rng = rng
        self._key = key
        self._behaviour = Behaviour()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = (scope.get("method"), scope["path"].removeprefix("/v1"))
        if route == ("POST", "/chat/completions"):
            await self._chat(await _body(receive), send)
        elif route == ("GET", "/models"):
            model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "pointsman"}
            await _reply(send, 200, {"object": "list", "data": [model]})
        elif route == ("POST", "/standin/behaviour"):
            await self._behave(await _body(receive), send)
        elif route == ("GET", "/standin/behaviour"):
            await _reply(send, 200, self._behaviour)
        else:
            await _refuse(send, 404, "no such path here")

    async def _behave(self, asked: Any, send: Send) -> None:
        try:
            self._behaviour = self._behaviour.changed(asked)
        except (TypeError, ValueError):
            await _refuse(send, 400, "want quality, latency_s, error_rate or status")
            return
        await _reply(send, 200, self._behaviour)

    async def _chat(self, body: Any, send: Send) -> None:
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            await _refuse(send, 400, "messages: want a list")
            return
        now = self._behaviour
        if now.latency_s:
            await asyncio.sleep(now.latency_s)
        if now.error_rate and self._rng.random() < now.error_rate:
            await _refuse(send, now.status, "the stand-in was told to fail")
            return
        good = now.quality == "good"
        try:
            said = answer(body, good=good, key=self._key)
            reply = _Reply(body, said, created=int(time.time()))
        except (KeyError, TypeError, AttributeError):
            await _refuse(send, 400, "the request is not a chat completion request")
            return
        if body.get("stream") is True:
            await _stream(send, reply)
        else:
            await _reply(send, 200, reply.whole())


class _Reply:
    """One answer in OpenAI's shapes."""

    def __init__(self, body: Mapping[str, Any], said: str, *, created: int) -> None:
        self._call = tool_call(body)
        self._text = "" if self._call else said
        self._n = min(max(int(body.get("n") or 1), 1), 16)
        self._logprobs = bool(body.get("logprobs"))
        self._usage_asked = bool((body.get("stream_options") or {}).get("include_usage"))
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        words = self._text.split(" ")
        self._cut = isinstance(limit, int) and limit < len(words)
        self._words = words[:limit] if self._cut else words
        read = sum(len(text_of([message]).split()) or 1 for message in body["messages"])
        self._usage = _usage(read, self._n * len(self._words))
        self._frame = {
            "id": "chatcmpl-standin",
            "created": created,
            "model": MODEL,
            "system_fingerprint": "stand-in",
        }

    @property
    def _finish(self) -> str:
        return "tool_calls" if self._call else "length" if self._cut else "stop"

    def whole(self) -> dict[str, Any]:
        """A ``chat.completion``."""
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        if self._call:
            message["tool_calls"] = [self._call]
        else:
            message["content"] = " ".join(self._words)
        logprobs = {"content": [_logprob(word) for word in self._words]} if self._logprobs else None
        choice = {"message": message, "logprobs": logprobs, "finish_reason": self._finish}
        choices = [{"index": index, **choice} for index in range(self._n)]
        frame = {"object": "chat.completion", **self._frame}
        return {**frame, "choices": choices, "usage": self._usage}

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The chunks of a stream."""
        for index in range(self._n):
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
            if self._call:
                yield self._chunk(index, {"tool_calls": [{"index": 0, **self._call}]})
            else:
                for at, word in enumerate(self._words):
                    yield self._chunk(index, {"content": f" {word}" if at else word})
            yield self._chunk(index, {}, self._finish)
        if self._usage_asked:
            yield {**self._stream_frame, "choices": [], "usage": self._usage}

    @property
    def _stream_frame(self) -> dict[str, Any]:
        return {"object": "chat.completion.chunk", **self._frame}

    def _chunk(
        self, index: int, delta: Mapping[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        logprobs = None
        if self._logprobs and delta.get("content"):
            logprobs = {"content": [_logprob(delta["content"])]}
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        usage = {"usage": None} if self._usage_asked else {}
        return {**self._stream_frame, "choices": [choice], **usage}


def _usage(tokens_in: int, tokens_out: int) -> dict[str, int]:
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }


def _logprob(word: str) -> dict[str, Any]:
    return {"token": word, "logprob": 0.0, "bytes": list(word.encode()), "top_logprobs": []}


async def _body(receive: Receive) -> Any:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError:
        return None


async def _head(send: Send, status: int, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"x-pointsman-stand-in", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _reply(send: Send, status: int, body: Any) -> None:
    await _head(send, status, b"application/json")
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


async def _refuse(send: Send, status: int, message: str) -> None:
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": None}
    await _reply(send, status, {"error": error})


async def _stream(send: Send, reply: _Reply) -> None:
    await _head(send, 200, b"text/event-stream")
    for chunk in reply.chunks():
        part = b"data: " + orjson.dumps(chunk) + b"\n\n"
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
