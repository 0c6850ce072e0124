"""What every backend promises (serving/backends/base.py), on every backend there is."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from serving.backends.base import Load
from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.edge import EdgeBackend, EdgeConfig
from serving.backends.standin import StandIn
from serving.errors import BackendError
from tests.scripted import query
from tests.upstream import Upstream, chunk, event, streamed, whole


@asynccontextmanager
async def running(backend):
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def edge():
    async with running(EdgeBackend(EdgeConfig(), arm_id="arm")) as backend:
        yield backend


@asynccontextmanager
async def cloud():
    """Its upstream answers whole at once, and streams word by word until it is left."""
    words = [part for _ in range(2000) for part in (event(chunk("word ")), 0.02)]

    class Either(Upstream):
        async def _answer(self, reader, writer):
            self.replies = [streamed(*words)]
            await super()._answer(reader, writer)

    async with Either(whole()) as upstream:
        config = CloudConfig(upstream.base_url, "m")
        async with running(CloudBackend(config, arm_id="arm")) as backend:
            yield backend


@asynccontextmanager
async def stand_in():
    server = StandIn()
    await server.start()
    try:
        config = CloudConfig(server.base_url, "pointsman-stand-in")
        async with running(CloudBackend(config, arm_id="arm")) as backend:
            yield backend
    finally:
        await server.aclose()


answering = pytest.mark.parametrize("made", [edge, stand_in])
endless = pytest.mark.parametrize("made", [edge, cloud])
every = pytest.mark.parametrize("made", [edge, cloud, stand_in])

SHORT = query("What is 2 + 2?", max_tokens=4)
LONG = query("Tell me a very long story about everything", temperature=0)


async def until(condition):
    """Within a second, as promised, and some for a busy machine."""
    deadline = time.monotonic() + 3.0
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


@answering
async def test_a_completion_is_openais_and_names_its_model(made):
    async with made() as backend:
        answer = await backend.complete(SHORT)
    choice = answer.body["choices"][0]
    assert answer.body["object"] == "chat.completion"
    assert isinstance(answer.body["model"], str)
    assert isinstance(choice["message"]["content"], str)
    assert choice["finish_reason"] in ("stop", "length")
    assert answer.body["usage"]["completion_tokens"] <= 4


@answering
async def test_a_stream_starts_with_the_role_and_ends_with_reason_and_usage(made):
    async with made() as backend, aclosing(backend.stream(SHORT)) as stream:
        bodies = [chunk.body async for chunk in stream]
    reasons = [body["choices"][0]["finish_reason"] for body in bodies[:-1]]
    assert bodies[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all(reason is None for reason in reasons[:-1])
    assert reasons[-1] in ("stop", "length")
    assert bodies[-1]["choices"] == []
    assert bodies[-1]["usage"]["total_tokens"] > 0
    assert len({(body["id"], body["model"]) for body in bodies}) == 1


@answering
async def test_confidence_comes_with_the_last_chunk_only(made):
    async with made() as backend, aclosing(backend.stream(SHORT)) as stream:
        chunks = [chunk async for chunk in stream]
    assert not any(chunk.confidence for chunk in chunks[:-1])
    assert isinstance(chunks[-1].confidence, Mapping)


@endless
async def test_closing_a_stream_frees_its_place(made):
    async with made() as backend:
        async with aclosing(backend.stream(LONG)) as stream:
            await anext(stream)
            assert backend.load().running == 1
        await until(lambda: backend.load() == Load())


@endless
async def test_cancelling_the_task_frees_its_place(made):
    async def consume(backend):
        async with aclosing(backend.stream(LONG)) as stream:
            return [chunk async for chunk in stream]

    async with made() as backend:
        task = asyncio.create_task(consume(backend))
        await until(lambda: backend.load().running == 1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await until(lambda: backend.load() == Load())


@every
async def test_an_idle_backend_is_healthy_and_says_so_in_words(made):
    async with made() as backend:
        healthy, words = backend.health()
        assert backend.load() == Load()
    assert healthy
    assert words
    assert backend.arm_id == "arm"


@every
async def test_before_start_and_after_stop_there_is_only_one_kind_of_error(made):
    async with made() as backend:
        await backend.aclose()
        assert not backend.health()[0]
        with pytest.raises(BackendError):
            await backend.complete(SHORT)
        with pytest.raises(BackendError):
            async with aclosing(backend.stream(SHORT)) as stream:
                await anext(stream)
        await backend.aclose()
        assert backend.load() == Load()


@answering
async def test_many_at_once_are_all_answered(made):
    async with made() as backend:
        answers = await asyncio.gather(*(backend.complete(SHORT) for _ in range(4)))
    assert all(answer.body["choices"] for answer in answers)


@answering
async def test_odd_queries_are_answered_or_refused_and_hurt_nobody(made):
    odd = [
        query("", max_tokens=1),
        query("a \ud800 b", max_tokens=1),
        query("\x00", max_tokens=1),
        query("x", max_tokens=1, stop=[]),
        query("x", max_tokens=-1),
        query("x", temperature=float("nan"), max_tokens=1),
        query("x", tools="no", max_tokens=1),
        query("x" * 100_000, max_tokens=1),
    ]
    async with made() as backend:
        for asked in odd:
            with suppress(BackendError):
                await backend.complete(asked)
        assert (await backend.complete(SHORT)).body["choices"]
