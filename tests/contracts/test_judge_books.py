"""What judging needs of a log, run over both logs."""

import asyncio
from datetime import timedelta

import pytest

from feedback.memory import MemoryDecisionLog
from feedback.sql import SqlDecisionLog
from tests.makers import NOW, Clock, logged, vote

DAY = "2026-03-01"


@pytest.fixture(params=["memory", "postgres"])
async def log(request):
    if request.param == "memory":
        yield MemoryDecisionLog(clock=Clock())
        return
    made = SqlDecisionLog(request.getfixturevalue("dsn"), clock=Clock())
    yield made
    await made.aclose()


async def judged(log, decision_id, *, key_id="", **tags):
    await log.add_decisions([logged(decision_id, key_id=key_id)])
    tags = {"audit_probability": "0.5", **tags}
    row = vote(decision_id, 0.8, metric="judge", source="judge:m", tags=tags)
    await log.add_feedback([row])


async def waiting(log, *, since=NOW - timedelta(days=1), limit=10, **more):
    found = await log.judges.waiting(limit, since=since, **more)
    return set(found.decision_ids), found.n


async def test_what_was_drawn_waits_until_a_person_answers(log):
    await judged(log, "drawn", audit="drawn")
    await judged(log, "spared")
    assert await waiting(log) == ({"drawn"}, 1)
    await log.add_feedback([vote("drawn")])
    assert await waiting(log) == ({"drawn"}, 1)
    await log.add_feedback([vote("drawn", 0, source="auditor", tags={"audit": "answer"})])
    assert await waiting(log) == (set(), 0)


async def test_only_ones_own_and_only_recent_ones_are_handed_out(log):
    await judged(log, "mine", key_id="k1", audit="drawn")
    await judged(log, "theirs", key_id="k2", audit="drawn")
    assert await waiting(log, key_id="k1") == ({"mine"}, 1)
    assert await waiting(log, since=NOW + timedelta(days=1)) == (set(), 0)


async def test_the_order_is_the_same_every_time_and_not_that_of_the_log(log):
    ids = [f"d-{i:02d}" for i in range(20)]
    for id_ in ids:
        await judged(log, id_, audit="drawn")
    first = await log.judges.waiting(5, since=NOW - timedelta(days=1))
    again = await log.judges.waiting(5, since=NOW - timedelta(days=1))
    assert list(first.decision_ids) == list(again.decision_ids)
    assert list(first.decision_ids) != ids[:5]
    assert first.n == 20


async def test_a_cap_holds_under_many_who_reserve_at_once(log):
    got = await asyncio.gather(*(log.judges.reserve(DAY, 1 / 64, cap_usd=0.25) for _ in range(64)))
    assert sum(got) == 16
    assert await log.judges.spent(DAY) == 0.25


async def test_what_was_not_spent_can_be_reserved_again(log):
    assert await log.judges.reserve(DAY, 0.2, cap_usd=0.2)
    assert not await log.judges.reserve(DAY, 0.01, cap_usd=0.2)
    await log.judges.settle(DAY, reserved_usd=0.2, spent_usd=0.05)
    assert await log.judges.spent(DAY) == pytest.approx(0.05)
    assert await log.judges.reserve(DAY, 0.1, cap_usd=0.2)


async def test_every_day_has_its_own_money(log):
    assert await log.judges.reserve(DAY, 0.2, cap_usd=0.2)
    assert await log.judges.reserve("2026-03-02", 0.2, cap_usd=0.2)
    assert not await log.judges.reserve("2026-03-03", 0.3, cap_usd=0.2)
