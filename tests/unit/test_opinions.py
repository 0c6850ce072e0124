"""What is taught where a judge and people are told apart."""

import pytest

from bandit.primitives import Judgement, Reward
from feedback.joiner import changed_from, lesson
from feedback.log import LogEvent
from feedback.reward import RewardRules
from tests.makers import logged, outcome, vote

APART = RewardRules(corrected=True)
DRAWN = {"audit_probability": "0.25", "audit": "drawn"}


def event(position, *rows, kind="feedback", result_at=1):
    return LogEvent(position, kind, logged("d"), outcome("d"), result_at, rows)


def score(at, value=0.8, *, source="judge:m", **tags):
    return at, vote("d", value, metric="judge", source=source, tags=tags)


def verdict(at, value=1, **tags):
    return at, vote("d", value, source="ann", tags=tags)


def learned(at, made, *, as_of=99):
    return lesson(made, position=at, as_of=as_of, rules=APART)


def test_the_first_score_teaches_quality_and_says_whose_it_is():
    found = learned(2, event(2, score(2, **DRAWN)))
    assert found.reward.quality == 0.8
    assert found.judgement == Judgement("judge:m", 0.8, audit_probability=0.25)


def test_an_audit_teaches_the_pair_at_its_own_position_and_leaves_the_score_alone():
    made = event(5, score(2, **DRAWN), verdict(5, 0, audit="1"))
    assert learned(2, made).reward.quality == 0.8
    found = learned(5, made)
    assert found.reward == Reward()
    assert found.judgement == Judgement("judge:m", 0.8, 0.0, True, 0.25)
    assert changed_from(made, learned_to=4, as_of=5, rules=APART) is None


def test_a_changed_audit_sends_the_learner_back_to_the_audit_and_no_further():
    made = event(9, score(2, **DRAWN), verdict(5, 0, audit="1"), verdict(9, 1, audit="1"))
    assert changed_from(made, learned_to=8, as_of=9, rules=APART) == 5
    assert learned(5, made).judgement.verdict == 1.0


def test_a_vote_that_nobody_asked_for_is_no_audit():
    for made in (
        event(5, score(2, **DRAWN), verdict(5)),
        event(5, score(2), verdict(5, audit="1")),
        event(5, score(2, audit_probability="0.25"), verdict(5, audit="1")),
        event(5, score(2, audit_probability="nan", audit="drawn"), verdict(5, audit="1")),
    ):
        assert not learned(5, made).judgement.audited


def test_a_vote_before_the_judge_teaches_quality_and_the_score_the_pair():
    made = event(5, verdict(2, 0), score(5))
    assert learned(2, made).reward.quality == 0.0
    assert learned(2, made).judgement == Judgement(verdict=0.0)
    assert learned(5, made).judgement == Judgement("judge:m", 0.8, 0.0)


def test_a_withdrawn_first_vote_hands_the_quality_to_the_judge():
    made = event(9, verdict(2, 0), score(5), verdict(9, None))
    assert learned(2, made) is None
    assert learned(5, made).reward.quality == 0.8
    assert changed_from(made, learned_to=8, as_of=9, rules=APART) == 2


def test_of_two_judges_the_first_one_counts():
    made = event(5, score(2), score(5, 0.1, source="judge:other"))
    assert learned(2, made).reward.quality == 0.8
    assert learned(5, made) is None


def test_a_score_of_no_judge_of_ours_is_a_vote():
    made = event(2, score(2, source="my-script"))
    assert learned(2, made).judgement == Judgement(verdict=0.8)


def test_a_probe_travels_with_the_score():
    tags = {"probe_arm": "cloud", "probe_score": "0.9", "probe_rate": "0.05"}
    said = learned(2, event(2, score(2, **tags))).judgement
    assert (said.probe_arm, said.probe_score, said.probe_rate) == ("cloud", 0.9, 0.05)


@pytest.mark.parametrize("broken", ["", "1.5", "inf", "many"])
def test_a_probe_without_a_proper_score_is_none(broken):
    tags = {"probe_arm": "cloud", "probe_score": broken, "probe_rate": "0.05"}
    said = learned(2, event(2, score(2, **tags))).judgement
    assert (said.probe_arm, said.probe_score) == (None, None)


def test_the_outcome_after_the_score_teaches_the_reward_with_it():
    made = event(3, score(2), kind="outcome", result_at=3)
    value = made.logged.decision.scenario.reward(quality=0.8, cost_usd=0.002, latency_s=0.5)
    assert learned(3, made).reward.value == pytest.approx(value)


def test_silence_teaches_the_default():
    made = LogEvent(7, "default", logged("d"), outcome("d"), 1, ())
    rules = RewardRules(default_quality=0.75, corrected=True)
    assert lesson(made, position=7, as_of=7, rules=rules).reward.quality == 0.75
