"""What every `DecisionLog` is to its learner: events in order, windows, a lead, snapshots."""

import asyncio
from datetime import timedelta

import pytest

from feedback.errors import (
    FencedError,
)
from feedback.log import Learned, Snapshot
from tests.makers import NOW, logged, outcome, vote


async def test_events_come_in_order_with_all_that_is_known(log):
    await log.add_decisions([logged("d"), logged("e", kind="route")])
    await log.add_outcome(outcome("d"))
    await log.add_feedback([vote("e"), vote("d", 0.5, metric="judge")])
    events = await log.read(0, 10)
    assert [(e.kind, e.logged.decision.decision_id) for e in events] == [
        ("outcome", "d"),
        ("feedback", "e"),
        ("feedback", "d"),
    ]
    assert events[0].outcome_position == events[0].position
    assert events[2].outcome == outcome("d", at=NOW)
    assert events[0].feedback == events[2].feedback
    assert events[1].outcome is None


async def test_reading_goes_on_where_it_stopped(log):
    ids = [f"r{i}" for i in range(5)]
    await log.add_decisions([logged(id_) for id_ in ids])
    await log.add_feedback([vote(id_) for id_ in ids])
    first = await log.read(0, 2)
    rest = await log.read(first[-1].position, 10)
    until = await log.read(0, 10, until=rest[0].position)
    assert [e.logged.decision.decision_id for e in (*first, *rest)] == ids
    assert [e.position for e in until] == [e.position for e in (*first, rest[0])]


async def test_positions_appear_in_commit_order_under_eight_writers(log):
    """Nothing appears at or below a position that a reader has already passed."""
    ids = [f"w{i}" for i in range(160)]
    await log.add_decisions([logged(id_) for id_ in ids])
    seen: list[int] = []

    async def write(part):
        for n, id_ in enumerate(part):
            if n % 2:
                await log.add_outcome(outcome(id_))
            else:
                await log.add_feedback([vote(id_), vote(id_, source="ben")])

    async def follow():
        while len(seen) < 240:
            events = await log.read(seen[-1] if seen else 0, 1000)
            seen.extend(event.position for event in events)
            await asyncio.sleep(0)

    await asyncio.gather(follow(), *(write(ids[k::8]) for k in range(8)))
    assert seen == [event.position for event in await log.read(0, 1000)]


async def test_silence_becomes_a_default_event_once(log, clock):
    clock.advance(60)
    await log.add_decisions([logged("quiet"), logged("judged"), logged("open")])
    await log.add_outcome(outcome("quiet"))
    await log.add_outcome(outcome("judged"))
    await log.add_feedback([vote("judged")])
    before = await log.last_position()
    assert await log.close_windows(NOW + timedelta(seconds=1), 10) == 1
    assert await log.close_windows(NOW + timedelta(seconds=1), 10) == 0
    (event,) = await log.read(before, 10)
    assert (event.kind, event.logged.decision.decision_id) == ("default", "quiet")


async def test_windows_close_a_few_at_a_time_and_not_before_their_time(log):
    await log.add_decisions([logged("a"), logged("b"), logged("young", decided_at=NOW)])
    await log.add_outcomes([outcome("a"), outcome("b"), outcome("young")])
    assert await log.close_windows(NOW, 10) == 0
    assert await log.close_windows(NOW + timedelta(seconds=1), 2) == 2
    assert await log.close_windows(NOW + timedelta(seconds=1), 2) == 1


async def test_a_vote_after_the_default_was_counted_is_late(log):
    await log.add_decisions([logged("d")])
    await log.add_outcome(outcome("d"))
    await log.close_windows(NOW + timedelta(seconds=1), 10)
    (receipt,) = await log.add_feedback([vote("d")])
    assert receipt.reason == "late"


async def test_one_learner_leads_and_epochs_grow(log):
    first = await log.lead()
    assert await log.lead() is None
    assert await log.still_leads(first)
    await log.resign(first)
    assert not await log.still_leads(first)
    assert await log.lead() > first


async def test_a_learner_of_an_earlier_epoch_cannot_publish(log):
    old = await log.lead()
    await log.resign(old)
    new = await log.lead()
    with pytest.raises(FencedError):
        await log.publish(Snapshot("v-1", 1, {}, b"old"), epoch=old)
    await log.publish(Snapshot("v-1", 1, {}, b"new"), epoch=new)
    assert (await log.latest_snapshot()).blob == b"new"


async def test_how_far_learning_came_and_whether_anyone_leads_is_told(log):
    assert await log.learned() == Learned(0, led=False)
    epoch = await log.lead()
    await log.publish(Snapshot("v1", 7, {}, b""), epoch=epoch)
    assert await log.learned() == Learned(7, led=True)
    await log.resign(epoch)
    assert await log.learned() == Learned(7, led=False)


async def test_snapshots_are_found_by_version_by_age_and_by_position(log):
    assert await log.latest_snapshot() is None
    assert await log.latest_version() is None
    epoch = await log.lead()
    for n in (1, 2, 3):
        await log.publish(Snapshot(f"v-{n}", 10 * n, {"n": n}, bytes([n])), epoch=epoch)
    assert await log.latest_version() == "v-3"
    assert (await log.latest_snapshot()).manifest == {"n": 3}
    assert (await log.get_snapshot("v-2")).created_at == NOW
    assert await log.get_snapshot("v-9") is None
    assert [s.version for s in await log.snapshots_before(30, 5)] == ["v-2", "v-1"]
    assert [s.version for s in await log.snapshots_before(31, 1)] == ["v-3"]
