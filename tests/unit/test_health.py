"""Whether anybody learns, as told by a server that does not."""

from types import SimpleNamespace

import pytest

from feedback.log import Snapshot
from feedback.memory import MemoryDecisionLog
from serving import health
from tests.makers import Clock, logged, outcome, vote


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    log = MemoryDecisionLog(clock=clock)
    return SimpleNamespace(log=log, learner=None, judge=None, now=clock)


async def judge(server):
    await server.log.add_decisions([logged("d")])
    await server.log.add_outcome(outcome("d"))
    await server.log.add_feedback([vote("d")])


async def test_an_empty_log_needs_no_learner(server):
    told = await health.learning(server)
    assert (told.ok, told.states["learner"]) == (True, "nowhere")


async def test_events_may_wait_for_half_a_minute_while_nobody_learns(server, clock):
    await judge(server)
    clock.advance(29)
    told = await health.learning(server)
    assert (told.ok, told.states["waiting_s"]) == (True, 29.0)


async def test_events_that_wait_longer_while_nobody_learns_are_unhealthy(server, clock):
    await judge(server)
    clock.advance(31)
    told = await health.learning(server)
    assert not told.ok
    assert told.states == {
        "database": "ok",
        "log_position": 2,
        "learner": "nowhere",
        "position": 0,
        "waiting_s": 31.0,
        "alarms": {"count": 0, "by_kind": {}, "pending": 0, "last": None},
    }


async def test_a_leader_elsewhere_is_healthy(server, clock):
    await judge(server)
    clock.advance(31)
    await server.log.lead()
    told = await health.learning(server)
    assert (told.ok, told.states["learner"]) == (True, "elsewhere")


async def test_a_log_that_is_learned_to_its_end_may_be_left_alone(server, clock):
    await judge(server)
    epoch = await server.log.lead()
    await server.log.publish(Snapshot("v1", 2, {}, b""), epoch=epoch)
    await server.log.resign(epoch)
    clock.advance(31)
    assert (await health.learning(server)).ok


async def test_only_what_was_not_learned_yet_counts_as_waiting(server, clock):
    await judge(server)
    epoch = await server.log.lead()
    await server.log.publish(Snapshot("v1", 2, {}, b""), epoch=epoch)
    await server.log.resign(epoch)
    clock.advance(3600)
    await server.log.add_feedback([vote("d", 0)])
    clock.advance(5)
    told = await health.learning(server)
    assert (told.ok, told.states["waiting_s"]) == (True, 5.0)
