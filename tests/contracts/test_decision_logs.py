"""What every `DecisionLog` does, whether in memory or in Postgres."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from feedback.engine import LogConfig
from feedback.errors import (
    BadFeedbackError,
    FencedError,
    IdempotencyConflictError,
    OutcomeConflictError,
    UnknownDecisionError,
)
from feedback.log import Learned, Snapshot
from feedback.memory import MemoryDecisionLog
from feedback.sql import SqlDecisionLog
from tests.makers import NOW, Clock, context, logged, outcome, vote

WINDOW_S = 3600.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "postgres"])
def make(request, clock):
    """Makes a log; ``most`` votes of one source count in an hour."""

    def made(most=None):
        if request.param == "memory":
            return MemoryDecisionLog(
                clock=clock, reward_window_s=WINDOW_S, max_votes_per_source_hour=most
            )
        dsn = request.getfixturevalue("dsn")
        config = LogConfig(reward_window_s=WINDOW_S, max_votes_per_source_hour=most)
        return SqlDecisionLog(dsn, clock=clock, config=config)

    return made


@pytest.fixture
async def log(make):
    made = make()
    yield made
    await made.aclose()


@pytest.fixture
async def strict(make):
    made = make(4)
    yield made
    await made.aclose()


async def test_a_decision_comes_back_bit_for_bit(log):
    made = logged("d", prompt="hi")
    await log.add_decisions([made])
    back = (await log.get("d")).logged
    assert replace(back.decision, context=None) == replace(made.decision, context=None)
    for name, vector in made.decision.context.namespaces.items():
        assert np.array_equal(back.decision.context.namespaces[name], vector)


async def test_a_decision_written_twice_is_there_once(log):
    await log.add_decisions([logged("d")])
    await log.add_decisions([logged("d"), logged("e")])
    await log.add_outcome(outcome("d"))
    assert len(await log.read(0, 10)) == 1


async def test_no_decisions_are_no_work(log):
    await log.add_decisions([])
    assert await log.read(0, 10) == []


@pytest.mark.parametrize("decision_id", ["nobody", "a\x00b", "\ud800", ""])
async def test_an_unknown_id_is_an_unknown_decision(log, decision_id):
    with pytest.raises(UnknownDecisionError):
        await log.get(decision_id)
    with pytest.raises(UnknownDecisionError):
        await log.add_feedback([vote(decision_id)])
    with pytest.raises(UnknownDecisionError):
        await log.add_outcome(outcome(decision_id))


async def test_another_keys_decision_is_an_unknown_decision(log):
    await log.add_decisions([logged("d", key_id="mine")])
    with pytest.raises(UnknownDecisionError):
        await log.get("d", key_id="yours")
    with pytest.raises(UnknownDecisionError):
        await log.add_feedback([vote("d")], key_id="")
    with pytest.raises(UnknownDecisionError):
        await log.add_outcome(outcome("d"), key_id="yours")
    assert (await log.get("d", key_id="mine")).outcome is None


async def test_an_outcome_comes_back_as_it_was(log):
    await log.add_decisions([logged("d")])
    assert await log.add_outcome(outcome("d", answer="x"))
    assert (await log.get("d")).outcome == outcome("d", answer="x", at=NOW)


async def test_the_same_outcome_again_is_not_stored_again(log):
    await log.add_decisions([logged("d")])
    await log.add_outcome(outcome("d"))
    assert not await log.add_outcome(outcome("d"))
    assert len(await log.read(0, 10)) == 1


async def test_another_outcome_for_a_decision_is_a_conflict(log):
    await log.add_decisions([logged("d")])
    await log.add_outcome(outcome("d"))
    with pytest.raises(OutcomeConflictError):
        await log.add_outcome(outcome("d", latency_s=9.0))


async def test_many_outcomes_are_stored_in_one_go_and_strays_left_out(log):
    await log.add_decisions([logged("d"), logged("e")])
    await log.add_outcome(outcome("d"))
    added = await log.add_outcomes([outcome("d"), outcome("stray"), outcome("e")])
    assert added == [False, False, True]


async def test_of_two_outcomes_in_one_go_the_first_counts(log):
    await log.add_decisions([logged("d")])
    added = await log.add_outcomes([outcome("d", latency_s=1.0), outcome("d", latency_s=2.0)])
    assert added == [True, False]
    assert (await log.get("d")).outcome.latency_s == 1.0


async def test_calls_at_the_same_time_each_get_their_own_answer(log):
    await log.add_decisions([logged("d", key_id="a"), logged("e", key_id="b")])
    good, other, conflict, stray = await asyncio.gather(
        log.add_feedback([vote("d")], key_id="a"),
        log.add_feedback([vote("e")], key_id="a"),
        log.add_outcome(outcome("d")),
        log.add_outcome(outcome("stray")),
        return_exceptions=True,
    )
    assert good[0].will_apply
    assert isinstance(other, UnknownDecisionError)
    assert conflict is True
    assert isinstance(stray, UnknownDecisionError)


@pytest.mark.parametrize(
    ("field", "value"),
    [("latency_s", float("nan")), ("cost_usd", float("inf")), ("cost_usd", -1), ("tokens_in", "9")],
)
async def test_an_outcome_that_cannot_be_learned_is_refused(log, field, value):
    await log.add_decisions([logged("d")])
    with pytest.raises(BadFeedbackError, match=field):
        await log.add_outcome(outcome("d", **{field: value}))
    assert (await log.get("d")).outcome is None


async def test_bad_feedback_stores_nothing_of_its_batch(log):
    await log.add_decisions([logged("d")])
    with pytest.raises(BadFeedbackError):
        await log.add_feedback([vote("d"), vote("d", float("nan"), metric="judge")])
    with pytest.raises(UnknownDecisionError):
        await log.add_feedback([vote("d"), vote("stray")])
    assert (await log.get("d")).feedback == ()


async def test_how_far_learning_came_and_whether_anyone_leads_is_told(log):
    assert await log.learned() == Learned(0, led=False)
    epoch = await log.lead()
    await log.publish(Snapshot("v1", 7, {}, b""), epoch=epoch)
    assert await log.learned() == Learned(7, led=True)
    await log.resign(epoch)
    assert await log.learned() == Learned(7, led=False)


async def test_all_unknown_decisions_of_one_call_are_named_at_once(log):
    await log.add_decisions([logged("d", key_id="me"), logged("e", key_id="you")])
    strays = [f"stray-{n}" for n in range(1000)]
    rows = [vote(decision_id) for decision_id in ("d", *strays, "e", "stray-0")]
    with pytest.raises(UnknownDecisionError, match="'stray-0' and 1000 more") as refused:
        await log.add_feedback(rows, key_id="me")
    assert refused.value.decision_id == "stray-0"
    assert refused.value.decision_ids == {*strays, "e"}
    assert (await log.get("d")).feedback == ()


async def test_a_vote_applies_and_gets_a_position(log):
    await log.add_decisions([logged("d")])
    (receipt,) = await log.add_feedback([vote("d", comment="good\x00")])
    assert receipt.will_apply
    assert receipt.reason is None
    assert receipt.position == await log.last_position()


@pytest.mark.parametrize(
    ("changes", "row", "reason"),
    [
        ({"reason": "pin"}, {}, "forced"),
        ({"context": context(features_ok=False)}, {}, "unlearnable"),
        ({"decided_at": NOW - timedelta(seconds=WINDOW_S + 1)}, {}, "late"),
        ({}, {"metric": "comment", "value": None, "comment": "hm"}, "comment"),
    ],
)
async def test_feedback_that_cannot_apply_is_kept_and_says_why(log, changes, row, reason):
    await log.add_decisions([logged("d", **changes)])
    (receipt,) = await log.add_feedback([vote("d", **row)])
    assert (receipt.will_apply, receipt.reason) == (False, reason)
    assert len((await log.get("d")).feedback) == 1
    assert await log.read(0, 10) == []


async def test_the_same_vote_again_changes_nothing(log):
    await log.add_decisions([logged("d")])
    await log.add_feedback([vote("d", 1)])
    again, other = await log.add_feedback([vote("d", 1), vote("d", 1, source="ben")])
    assert (again.will_apply, again.reason) == (False, "duplicate")
    assert other.will_apply
    assert len((await log.get("d")).feedback) == 2


async def test_withdrawing_what_was_never_said_changes_nothing(log):
    await log.add_decisions([logged("d")])
    (receipt,) = await log.add_feedback([vote("d", None)])
    assert receipt.reason == "duplicate"
    assert await log.read(0, 10) == []


async def test_changing_and_withdrawing_a_vote_are_new_events(log):
    await log.add_decisions([logged("d")])
    for value in (1, 0, None):
        (receipt,) = await log.add_feedback([vote("d", value)])
        assert receipt.will_apply
    (*_, last) = await log.read(0, 10)
    assert [row.value for _, row in last.feedback] == [1, 0, None]


async def test_an_idempotency_key_returns_the_first_receipts(log):
    await log.add_decisions([logged("d")])
    first = await log.add_feedback([vote("d")], idempotency=("k", "body"))
    again = await log.add_feedback([vote("d")], idempotency=("k", "body"))
    assert again == first
    assert len(await log.read(0, 10)) == 1


async def test_an_idempotency_key_with_another_body_is_a_conflict(log):
    await log.add_decisions([logged("d")])
    await log.add_feedback([vote("d")], idempotency=("k", "body"))
    with pytest.raises(IdempotencyConflictError):
        await log.add_feedback([vote("d", 0)], idempotency=("k", "other"))


async def test_idempotency_keys_of_two_callers_are_two_keys(log):
    await log.add_decisions([logged("d", key_id="a"), logged("e", key_id="b")])
    await log.add_feedback([vote("d")], key_id="a", idempotency=("k", "x"))
    (receipt,) = await log.add_feedback([vote("e")], key_id="b", idempotency=("k", "y"))
    assert receipt.will_apply


async def test_the_same_key_at_the_same_time_counts_once(log):
    await log.add_decisions([logged("d")])
    calls = (log.add_feedback([vote("d")], idempotency=("k", "body")) for _ in range(8))
    receipts = await asyncio.gather(*calls)
    assert len({r[0].feedback_id for r in receipts}) == 1
    assert len(await log.read(0, 20)) == 1


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


async def votes(log, *ids, value=1, **options):
    rows = [vote(id_, value, source="loud") for id_ in ids]
    return [receipt.reason for receipt in await log.add_feedback(rows, **options)]


async def test_of_one_source_so_many_votes_an_hour_count_and_the_rest_is_kept(strict, clock):
    ids = [f"d{i}" for i in range(8)]
    await strict.add_decisions([logged(id_, decided_at=clock()) for id_ in ids])
    assert await votes(strict, *ids[:3]) == [None] * 3
    clock.advance(1800)
    assert await votes(strict, *ids[3:5]) == [None, "capped"]
    assert len((await strict.get("d4")).feedback) == 1
    (receipt,) = await strict.add_feedback([vote("d4", 0, source="quiet")])
    assert receipt.will_apply
    assert await votes(strict, "d5", own=True) == [None]
    clock.advance(1800)
    assert await votes(strict, "d6", "d7") == [None, None]
    taught = [e.logged.decision.decision_id for e in await strict.read(0, 100)]
    assert taught == ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"]


async def test_the_same_name_said_with_another_key_is_another_source(strict, clock):
    for key in ("a", "b"):
        mine = [f"{key}{i}" for i in range(5)]
        await strict.add_decisions(
            [replace(logged(id_, decided_at=clock()), key_id=key) for id_ in mine]
        )
        assert await votes(strict, *mine, key_id=key) == [None] * 4 + ["capped"]


async def test_what_counts_may_be_changed_and_withdrawn_however_much_there_is(strict, clock):
    ids = [f"d{i}" for i in range(6)]
    await strict.add_decisions([logged(id_, decided_at=clock()) for id_ in ids])
    assert await votes(strict, *ids[:5]) == [None] * 4 + ["capped"]
    assert await votes(strict, "d0", value=0) == [None]
    assert await votes(strict, "d1", value=None) == [None]
    assert await votes(strict, "d4", value=0) == ["capped"]
    assert await votes(strict, "d5") == ["capped"]
