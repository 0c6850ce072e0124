"""A real HTTP server on loopback that answers exactly as badly as a test wants."""

import asyncio
import contextlib
import json
import socket
import struct

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(text="Hello", **more):
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "upstream-1",
        "choices": [choice],
        "usage": USAGE,
        **more,
    }


def chunk(text=None, *, finish=None, index=0, **more):
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    return {**frame, "model": "upstream-1", "choices": [choice], **more}


def event(body):
    data = body if isinstance(body, str) else json.dumps(body)
    return f"data: {data}\n\n".encode()


ROLE = event({**chunk(), "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
WORDS = (ROLE, event(chunk("Hel")), event(chunk("lo")))
STOP = event(chunk(finish="stop"))
TAIL = event({**chunk(), "choices": [], "usage": USAGE})
DONE = event("[DONE]")


class Reply:
    """Bytes to send, events to wait for and pauses in seconds, in order; then the line closes."""

    def __init__(self, *parts, status=200, kind="application/json", headers=(), raw=False):
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "connection: close", *headers]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        self.parts = parts if raw else (head, *parts)


def whole(body=None, *, status=200, headers=(), kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body or completion()).encode()
    return Reply(data, status=status, kind=kind, headers=(*headers, f"content-length: {len(data)}"))


def streamed(*parts, headers=()):
    return Reply(*(parts or (*WORDS, STOP, TAIL, DONE)), kind="text/event-stream", headers=headers)


def cut(*parts, then=()):
    """A stream whose connection ends, after ``then``, where its framing says that more comes."""
    framed = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    headers = ("transfer-encoding: chunked",)
    return Reply(framed + b"50\r\n", *then, kind="text/event-stream", headers=headers)


def refusal(status, message="no", *, headers=(), code=None):
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return whole({"error": error}, status=status, headers=headers)


class Upstream:
    """Gives the next reply to each request; the last one again and again.

    A reply may be a function of the request's body.

    Attributes
    ----------
    requests
        Headers (lower case) and parsed body of each.
    asked, gone
        Set when a request came, and when a caller goes away before its reply is over.
    """

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((headers, json.loads(body)))
        self.asked.set()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        reply = reply(json.loads(body)) if callable(reply) else reply
        watch = asyncio.create_task(self._watch(reader))
        try:
            for part in reply.parts:
                await self._play(part, writer)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, reader):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self.gone.set()

    async def _play(self, part, writer):
        if isinstance(part, bytes):
            writer.write(part)
            await writer.drain()
        elif part == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif isinstance(part, asyncio.Event):
            await part.wait()
        else:
            await asyncio.sleep(part)
