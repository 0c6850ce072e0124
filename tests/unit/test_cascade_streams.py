"""Streams of a cascade: held back until the gate has decided, live from there."""

import asyncio
from dataclasses import replace

import pytest

from feedback.memory import MemoryDecisionLog
from serving.router import RouterConfig
from tests.cascading import (
    CLOUD_CHUNKS,
    CLOUD_USD,
    DOWN,
    EDGE_CHUNKS,
    cascading,
    outcome_of,
    streamed,
)
from tests.scripted import (
    CASCADE,
    NOW,
    SPECS,
    GatedPolicy,
    ScriptedBackend,
    query,
)


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=lambda: NOW)


async def test_a_stream_is_held_back_until_the_edge_is_done(log):
    gate = asyncio.Event()
    edge = ScriptedBackend("edge", *EDGE_CHUNKS[:3], gate, *EDGE_CHUNKS[3:])
    task = asyncio.create_task(streamed(cascading(log, GatedPolicy(1.0), edge)))
    await edge.waiting.wait()
    done, _ = await asyncio.wait((task,), timeout=0.05)
    gate.set()
    answer, text = await task
    assert (done, text) == (set(), "Hello")
    found = await outcome_of(log, answer)
    assert (found.gating.signals["margin_mean"], found.gating.signals["whole"]) == (0.9, 1.0)


async def test_an_escalated_stream_has_no_word_of_the_edge(log):
    edge, cloud = ScriptedBackend("edge", *EDGE_CHUNKS), ScriptedBackend("cloud", *CLOUD_CHUNKS)
    answer, text = await streamed(cascading(log, GatedPolicy(0.0), edge, cloud))
    found = await outcome_of(log, answer)
    assert (text, found.cost_usd) == ("Better", pytest.approx(CLOUD_USD))
    assert found.gating.verdict == "escalate"


def early(tokens):
    return (*SPECS, replace(CASCADE, hold_tokens=tokens))


async def test_with_hold_tokens_an_accepted_stream_runs_live_from_there(log):
    gate = asyncio.Event()
    edge = ScriptedBackend("edge", *EDGE_CHUNKS[:2], gate, *EDGE_CHUNKS[2:])
    router = cascading(log, GatedPolicy(1.0), edge, specs=early(1))
    routed = await router.decide(query(stream=True))
    async with router.stream(routed) as (answer, chunks):
        verdict = answer.stage.ruling.verdict
        first = [await anext(chunks), await anext(chunks)]
        gate.set()
        rest = [one async for one in chunks]
    await router.aclose()
    found = await outcome_of(log, answer)
    assert (verdict, [*first, *rest]) == ("accept", list(EDGE_CHUNKS))
    assert found.gating.signals["whole"] == 0.0
    # The bill and the time of the edge are those of its whole answer.
    assert (found.tokens_out, found.gating.edge_latency_s) == (5, found.latency_s)
    assert (found.confidence["margin_mean"], found.confidence["whole"]) == (0.9, 1.0)


async def test_with_hold_tokens_an_escalated_stream_stops_the_edge(log):
    edge = ScriptedBackend("edge", *EDGE_CHUNKS[:2], asyncio.Event())
    cloud = ScriptedBackend("cloud", *CLOUD_CHUNKS)
    answer, text = await streamed(cascading(log, GatedPolicy(0.0), edge, cloud, specs=early(1)))
    assert (text, edge.cancelled) == ("Better", 1)
    assert (await outcome_of(log, answer)).gating.signals["whole"] == 0.0


async def test_with_hold_tokens_the_edge_goes_on_where_the_cloud_fails(log):
    edge = ScriptedBackend("edge", *EDGE_CHUNKS)
    cloud = ScriptedBackend("cloud", DOWN)
    answer, text = await streamed(cascading(log, GatedPolicy(0.0), edge, cloud, specs=early(1)))
    assert (text, answer.stage.ruling.cause) == ("Hello", "cloud_failed")


async def test_an_answer_shorter_than_hold_tokens_is_judged_whole(log):
    edge = ScriptedBackend("edge", *EDGE_CHUNKS)
    answer, _ = await streamed(cascading(log, GatedPolicy(1.0), edge, specs=early(50)))
    assert (await outcome_of(log, answer)).gating.signals["whole"] == 1.0


async def test_an_edge_that_breaks_off_while_held_is_replaced_by_the_cloud(log):
    edge = ScriptedBackend("edge", *EDGE_CHUNKS[:2], DOWN)
    cloud = ScriptedBackend("cloud", *CLOUD_CHUNKS)
    answer, text = await streamed(cascading(log, GatedPolicy(1.0), edge, cloud))
    assert (text, answer.stage.ruling.cause) == ("Better", "edge_failed")


async def test_signs_of_life_are_given_while_a_stream_is_held_back_and_not_afterwards(log):
    gate, signs = asyncio.Event(), []

    async def waiting(answer):
        signs.append((answer.logged, answer.stage))
        if len(signs) == 3:
            gate.set()

    edge = ScriptedBackend("edge", *EDGE_CHUNKS[:2], gate, *EDGE_CHUNKS[2:])
    config = RouterConfig(sign_of_life_s=0.01)
    router = cascading(log, GatedPolicy(1.0), edge, config=config)
    _, text = await streamed(router, waiting=waiting)
    assert (text, signs) == ("Hello", [(True, None)] * 3)
