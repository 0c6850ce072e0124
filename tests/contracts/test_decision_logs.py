"""What every `DecisionLog` keeps of decisions, outcomes and feedback, in memory or in Postgres."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from feedback.errors import (
    BadFeedbackError,
    IdempotencyConflictError,
    OutcomeConflictError,
    UnknownDecisionError,
)
from tests.makers import NOW, WINDOW_S, context, logged, outcome, vote


async def test_a_decision_comes_back_bit_for_bit(log):
    made = logged("d", prompt="hi", reference="ho")
    await log.add_decisions([made])
    back = (await log.get("d")).logged
    assert (back.prompt, back.reference) == ("hi", "ho")
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
