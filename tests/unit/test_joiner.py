"""What a decision teaches, and at which position."""

import pytest

from bandit.primitives import Gating, Prediction, Reward
from bandit.utility import Scenario
from feedback.joiner import changed_from, join, lesson
from feedback.log import LogEvent
from feedback.reward import RewardRules
from tests.makers import context, logged, outcome, vote

VALUE = logged().decision.scenario.reward(quality=1.0, cost_usd=0.002, latency_s=0.5)


def event(position, kind="feedback", *, made=None, result=None, result_at=None, votes=()):
    rows = tuple((at, vote("d", value)) for at, value in votes)
    return LogEvent(position, kind, made or logged("d"), result, result_at, rows)


def reward(found):
    return None if found is None else found.reward


def test_the_outcome_teaches_cost_and_latency_only():
    made = event(1, "outcome", result=outcome("d"), result_at=1)
    found = lesson(made, position=1, as_of=1)
    assert found.reward == Reward(cost_usd=0.002, latency_s=0.5)
    assert (found.tokens_in, found.tokens_out) == (20, 30)


def test_the_first_vote_teaches_quality_and_the_reward():
    made = event(2, result=outcome("d"), result_at=1, votes=[(2, 1)])
    assert reward(lesson(made, position=2, as_of=2)) == Reward(quality=1.0, value=VALUE)


def test_a_vote_before_the_outcome_teaches_quality_and_the_outcome_the_reward():
    made = event(2, "outcome", result=outcome("d"), result_at=2, votes=[(1, 1)])
    assert reward(lesson(made, position=1, as_of=2)) == Reward(quality=1.0)
    assert reward(lesson(made, position=2, as_of=2)) == Reward(
        cost_usd=0.002, latency_s=0.5, value=VALUE
    )


def test_a_scenario_of_quality_alone_is_taught_with_the_vote_and_not_again():
    alone = logged("d", scenario=Scenario("q", 1.0, 0.0, 0.0))
    made = event(2, "outcome", made=alone, result=outcome("d"), result_at=2, votes=[(1, 1)])
    assert reward(lesson(made, position=1, as_of=2)).value == 1.0
    assert reward(lesson(made, position=2, as_of=2)).value is None


def test_a_scenario_without_quality_is_taught_with_the_outcome_and_not_again():
    alone = logged("d", scenario=Scenario("l", 0.0, 0.0, 1.0))
    made = event(2, made=alone, result=outcome("d"), result_at=1, votes=[(2, 1)])
    assert reward(lesson(made, position=1, as_of=2)).value is not None
    assert reward(lesson(made, position=2, as_of=2)).value is None


def test_later_votes_teach_nothing_at_their_own_position():
    made = event(3, result=outcome("d"), result_at=1, votes=[(2, 1), (3, 0)])
    assert lesson(made, position=3, as_of=3) is None


def test_a_changed_vote_changes_what_the_first_position_teaches():
    made = event(9, result=outcome("d"), result_at=1, votes=[(2, 1), (9, 0)])
    assert reward(lesson(made, position=2, as_of=8)).quality == 1.0
    assert reward(lesson(made, position=2, as_of=9)).quality == 0.0
    assert changed_from(made, learned_to=8, as_of=9) == 2
    assert changed_from(made, learned_to=1, as_of=9) is None


def test_a_withdrawn_vote_teaches_nothing():
    made = event(9, result=outcome("d"), result_at=1, votes=[(2, 1), (9, None)])
    assert lesson(made, position=2, as_of=9) is None
    assert changed_from(made, learned_to=8, as_of=9) == 2


def test_a_vote_changed_and_changed_back_needs_no_relearning():
    made = event(9, result=outcome("d"), result_at=1, votes=[(2, 1), (8, 0), (9, 1)])
    assert changed_from(made, learned_to=7, as_of=9) is None


def test_a_late_failure_unteaches_the_vote_before_it():
    failed = outcome("d", failure="timeout")
    made = event(5, "outcome", result=failed, result_at=5, votes=[(2, 1)])
    assert changed_from(made, learned_to=4, as_of=5) == 2
    assert lesson(made, position=5, as_of=5) is None


def test_silence_teaches_the_default():
    made = event(7, "default", result=outcome("d"), result_at=1)
    rules = RewardRules(default_quality=0.75)
    assert lesson(made, position=7, as_of=7, rules=rules).reward.quality == 0.75
    assert lesson(made, position=7, as_of=7) is None


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"reason": "pin"}, outcome("d")),
        ({"context": context(features_ok=False)}, outcome("d")),
        ({}, outcome("d", failure="timeout")),
        ({}, outcome("d", arm="cloud")),
    ],
)
def test_what_must_not_be_learned_teaches_nothing(changes, result):
    made = event(2, made=logged("d", **changes), result=result, result_at=1, votes=[(2, 1)])
    assert lesson(made, position=1, as_of=2) is None
    assert lesson(made, position=2, as_of=2) is None
    assert join(made.logged, result, 1.0) is None


def test_join_gives_everything_at_once():
    found = join(logged("d"), outcome("d"), 1.0)
    assert found.reward == Reward(1.0, 0.002, 0.5, VALUE)
    assert join(logged("d"), None, None) is None


def gated():
    pmf = Prediction(("accept", "escalate"), (0.75, 0.25), "v")
    return Gating("edge", "cloud", {"margin_mean": 0.5}, pmf, "escalate", 0.25)


@pytest.mark.parametrize("position", [1, 2])
def test_both_lessons_of_an_edge_answer_carry_its_signals(position):
    made = event(position, result=outcome("d"), result_at=1, votes=[(2, 1)])
    assert lesson(made, position=position, as_of=2).signals == {"margin_mean": 0.25}


@pytest.mark.parametrize("position", [1, 2])
def test_both_lessons_of_a_cascade_carry_its_second_stage(position):
    result = outcome("d", gating=gated(), confidence={})
    made = event(position, result=result, result_at=1, votes=[(2, 1)])
    found = lesson(made, position=position, as_of=2)
    assert found.gating == gated()
    assert found.signals == {"margin_mean": 0.5}
