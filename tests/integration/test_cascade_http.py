"""A cascade over a real socket, with scripted arms behind it."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from feedback.memory import MemoryDecisionLog
from serving.errors import BackendUnavailableError
from serving.router import RouterConfig
from tests.chat_server import serving
from tests.scripted import CHUNKS, GATED, NOW, GatedPolicy, ScriptedBackend

DOWN = BackendUnavailableError("cloud", "gone")
HELLO = [{"role": "user", "content": "Hello"}]
SOON = RouterConfig(sign_of_life_s=0.01)


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=lambda: NOW)


def gated(tmp_path, log, *edge, accept, **options):
    policy = GatedPolicy(accept, cascade=1.0, edge=1e-9, cloud=1e-9)
    return serving(tmp_path, log, *edge, policy=policy, specs=GATED, **options)


async def ask(client, **fields):
    return await client.post("/v1/chat/completions", json={"messages": HELLO, **fields})


def gate_of(headers):
    names = ("arm", "gate", "gate-propensity", "answered-by", "gate-forced")
    return tuple(headers.get(f"x-pointsman-{name}") for name in names)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("accept", "told"),
    [
        (1.0, ("cascade", "accept", "1", "edge", None)),
        (0.0, ("cascade", "escalate", "1", "cloud", None)),
    ],
)
async def test_headers_say_the_verdict_and_who_answered(tmp_path, log, stream, accept, told):
    async with gated(tmp_path, log, accept=accept) as client:
        reply = await ask(client, stream=stream)
    assert (reply.status_code, gate_of(reply.headers)) == (200, told)


async def test_headers_say_that_the_cloud_failed_and_the_edge_answered(tmp_path, log):
    async with gated(tmp_path, log, accept=0.0, cloud=(DOWN,)) as client:
        reply = await ask(client)
    assert gate_of(reply.headers) == ("cascade", "accept", "1", "edge", "cloud_failed")


async def test_no_other_arm_speaks_of_a_gate(tmp_path, log):
    async with gated(tmp_path, log, accept=1.0) as client:
        reply = await ask(client, model="edge")
    assert gate_of(reply.headers) == ("edge", None, None, None, None)


async def test_the_bill_of_both_stages_is_told(tmp_path, log):
    specs = tuple(replace(s, price=replace(s.price, price_in=1.0, price_out=3.0)) for s in GATED)
    async with serving(tmp_path, log, policy=GatedPolicy(0.0), specs=specs) as client:
        reply = await ask(client)
    assert float(reply.headers["x-pointsman-cost-usd"]) == pytest.approx(2 * 25e-6)


async def test_a_stream_that_waits_long_shows_that_it_lives_and_then_says_the_verdict(
    tmp_path, log
):
    go_on = asyncio.Event()
    edge = ScriptedBackend("edge", *CHUNKS[:2], go_on, *CHUNKS[2:])
    async with gated(tmp_path, log, edge, accept=1.0, config=SOON) as client:
        body = {"messages": HELLO, "stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            lines = reply.aiter_lines()
            first = await anext(lines)
            go_on.set()
            rest = [line async for line in lines if line]
    assert gate_of(reply.headers)[:2] == ("cascade", "pending")
    assert reply.headers["x-pointsman-logged"] == "true"
    comments = [line for line in rest if line.startswith(":")]
    events = [orjson.loads(line[6:]) for line in rest if line.startswith("data: {")]
    assert (first, comments[-1]) == (": held back until the gate has decided", ": gate: accept")
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == "Hello"
    assert rest[-1] == "data: [DONE]"


async def test_once_it_has_shown_that_it_lives_a_failure_is_told_in_the_stream(tmp_path, log):
    go_on = asyncio.Event()
    edge = ScriptedBackend("edge", go_on, DOWN)
    async with gated(tmp_path, log, edge, accept=1.0, cloud=(DOWN,), config=SOON) as client:
        body = {"messages": HELLO, "stream": True, "model": "cascade"}
        async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            go_on.set()
            lines = [line async for line in reply.aiter_lines() if line]
    told = orjson.loads(lines[-1][6:])
    assert (reply.status_code, told["error"]["code"]) == (200, "arm_unavailable")


@pytest.mark.parametrize("stage", ["edge", "cloud"])
async def test_a_client_that_leaves_stops_either_stage(tmp_path, log, stage):
    stuck = ScriptedBackend(stage, asyncio.Event())
    parts = {"edge": (), "cloud": ()} | {stage: (stuck,)}
    async with gated(tmp_path, log, *parts["edge"], accept=0.0, cloud=parts["cloud"]) as client:
        asking = asyncio.create_task(ask(client, stream=True))
        await stuck.waiting.wait()
        asking.cancel()
        async with asyncio.timeout(5.0):
            while not stuck.cancelled:  # noqa: ASYNC110 - the other side has no event to wait for
                await asyncio.sleep(0.005)


async def test_a_cascade_can_be_asked_for_like_any_arm(tmp_path, log):
    async with gated(tmp_path, log, accept=1.0) as client:
        names = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        one = (await client.get("/v1/models/cascade")).json()
        reply = await ask(client, model="cascade")
    assert ("cascade" in names, one["owned_by"]) == (True, "cascade")
    assert reply.headers["x-pointsman-reason"] == "pin"
