"""The chat endpoint over a real socket, with scripted arms behind it."""

import asyncio

import orjson
import pytest

from feedback.memory import MemoryDecisionLog
from serving.errors import (
    BackendOverloadedError,
    BackendRejectedError,
    BackendUnavailableError,
)
from tests.chat_server import serving
from tests.scripted import CHUNKS, NOW, USAGE

DOWN = BackendUnavailableError("edge", "gone")
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=lambda: NOW)


def ask(client, **fields):
    return client.post("/v1/chat/completions", json={"messages": HELLO, **fields})


async def events(client, **fields):
    reply = await ask(client, stream=True, **fields)
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    return reply, [line if line == "[DONE]" else orjson.loads(line) for line in lines]


async def eventually(check):
    async with asyncio.timeout(5.0):
        while not check():  # noqa: ASYNC110 - the other side has no event to wait for
            await asyncio.sleep(0.005)


async def test_a_completion_comes_with_what_was_decided(tmp_path, log):
    async with serving(tmp_path, log) as client:
        reply = await ask(client)
    headers = {k: v for k, v in reply.headers.items() if k.startswith("x-pointsman-")}
    assert float(headers.pop("x-pointsman-overhead-ms")) > 0.0
    assert headers == {
        "x-pointsman-decision-id": f"{1:032x}",
        "x-pointsman-arm": "edge",
        "x-pointsman-reason": "policy",
        "x-pointsman-scenario": "balanced",
        "x-pointsman-propensity": "1",
        "x-pointsman-policy-version": "fixed-1",
        "x-pointsman-logged": "true",
        "x-pointsman-attempts": "1",
        "x-pointsman-cost-usd": "0.000000000",
        "x-pointsman-cost-source": "usage",
    }
    assert reply.json()["id"] == f"chatcmpl-{1:032x}"


async def test_a_stream_has_the_text_one_finish_and_done(tmp_path, log):
    async with serving(tmp_path, log) as client:
        reply, found = await events(client)
    *chunks, last = found
    assert last == "[DONE]"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "Hello"
    assert {(c["id"], c["object"], c["model"]) for c in chunks} == {
        (f"chatcmpl-{1:032x}", "chat.completion.chunk", "m")
    }
    assert not any("usage" in c for c in chunks)
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"


async def test_usage_is_streamed_when_asked_for(tmp_path, log):
    async with serving(tmp_path, log, cloud=CHUNKS) as client:
        _, found = await events(client, model="cloud", stream_options={"include_usage": True})
    *chunks, last, _ = found
    assert [c["usage"] for c in chunks] == [None] * 4
    assert last["choices"] == []
    assert last["usage"] == {**USAGE, "pointsman_cost_usd": pytest.approx(25e-6)}


async def test_a_stream_that_breaks_off_ends_with_an_error_and_without_done(tmp_path, log):
    async with serving(tmp_path, log, *CHUNKS[:3], DOWN) as client:
        _, found = await events(client)
    assert found[-1]["error"]["code"] == "arm_unavailable"
    assert "[DONE]" not in found


async def test_before_the_first_byte_another_arm_answers(tmp_path, log):
    async with serving(tmp_path, log, CHUNKS[0], DOWN) as client:
        reply, found = await events(client)
    assert (reply.headers["x-pointsman-arm"], reply.headers["x-pointsman-reason"]) == (
        "cloud",
        "fallback",
    )
    assert found[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_both_arms_down_is_a_503_that_says_when_to_try_again(tmp_path, log, stream):
    async with serving(tmp_path, log, DOWN, cloud=(DOWN,)) as client:
        reply = await ask(client, stream=stream)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "server_error")
    assert int(reply.headers["retry-after"]) >= 1


async def test_an_overloaded_pin_is_a_429(tmp_path, log):
    async with serving(tmp_path, log, BackendOverloadedError("edge", "full", 3.0)) as client:
        reply = await ask(client, model="edge")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3")


async def test_an_upstreams_refusal_is_passed_on_as_it_came(tmp_path, log):
    error = {"error": {"message": "no", "type": "t", "param": "p", "code": "c"}}
    async with serving(tmp_path, log, BackendRejectedError("edge", 422, error)) as client:
        reply = await ask(client)
    assert (reply.status_code, reply.json()) == (422, error)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b'{"messages": []}', 400, "invalid_request"),
        (b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', 400, "nul_character"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "invalid_json"),
        (b'{"temperature": NaN}', 400, "invalid_json"),
        (b"[" * 100_000, 400, "too_deep"),
        (b'{"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}', 404, None),
    ],
)
async def test_bad_input_gets_an_openai_error(tmp_path, log, body, status, code):
    async with serving(tmp_path, log) as client:
        reply = await client.post("/v1/chat/completions", content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (
        status,
        code or "model_not_found",
    )


async def test_a_body_over_the_limit_is_refused_unread(tmp_path, log):
    async with serving(tmp_path, log) as client:
        reply = await client.post("/v1/chat/completions", content=b" " * (5 * 1024 * 1024))
    assert reply.status_code == 413


@pytest.mark.parametrize("script", [(), CHUNKS[:2]])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_backend(tmp_path, log, script, stream):
    async with serving(tmp_path, log, *script, asyncio.Event()) as client:
        edge = client.arms[0]
        asking = asyncio.create_task(ask(client, stream=stream))
        await edge.waiting.wait()
        asking.cancel()
        await eventually(lambda: edge.cancelled == 1)
        await eventually(lambda: log._entries and outcome(log) is not None)
    assert outcome(log).failure == "cancelled"


def outcome(log):
    return next(iter(log._entries.values())).outcome


async def test_a_stopping_server_takes_nothing_new(tmp_path, log):
    async with serving(tmp_path, log) as client:
        client.app.state.services.draining.set()
        reply = await ask(client)
    assert reply.status_code == 503


async def test_streams_end_with_an_error_at_the_end_of_the_drain(tmp_path, log):
    async with serving(tmp_path, log, *CHUNKS[:2], asyncio.Event()) as client:
        asking = asyncio.create_task(events(client))
        await client.arms[0].waiting.wait()
        await client.router.drain(0.01)
        _, found = await asking
    assert "stopping" in found[-1]["error"]["message"]


async def test_models_are_listed_and_found(tmp_path, log):
    async with serving(tmp_path, log) as client:
        listed = (await client.get("/v1/models")).json()
        one = (await client.get("/v1/models/vendor/large")).json()
        missing = await client.get("/v1/models/gpt-9")
    assert [model["id"] for model in listed["data"]] == [
        *("auto", "auto:quality", "auto:speed", "auto:economy", "auto:balanced"),
        *("edge", "cloud", "small", "vendor/large"),
    ]
    assert (one["object"], one["owned_by"]) == ("model", "cloud")
    assert missing.status_code == 404


async def test_the_short_path_is_served_too(tmp_path, log):
    async with serving(tmp_path, log) as client:
        reply = await client.post("/chat/completions", json={"messages": HELLO})
    assert reply.status_code == 200
