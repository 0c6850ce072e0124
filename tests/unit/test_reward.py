"""Values are checked and combined as documented."""

import math

import pytest

from bandit.utility import PRESETS
from feedback.errors import BadFeedbackError
from feedback.reward import RewardRules, check, check_outcome, combine, normalise, to_reward
from tests.makers import outcome, vote


@pytest.mark.parametrize(
    ("metric", "value", "quality"),
    [
        ("thumbs", 1, 1.0),
        ("thumbs", 0.0, 0.0),
        ("rating", 1, 0.0),
        ("rating", 5, 1.0),
        ("rating", 3.5, 0.625),
        ("judge", 0.25, 0.25),
        ("task_success", 1, 1.0),
    ],
)
def test_a_value_becomes_quality(metric, value, quality):
    assert normalise(metric, value) == quality


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("thumbs", 0.5),
        ("thumbs", True),
        ("task_success", 2),
        ("rating", 0),
        ("rating", 5.01),
        ("judge", -0.01),
        ("judge", math.nan),
        ("judge", math.inf),
        ("judge", "0.5"),
        ("judge", 10**400),
        ("stars", 1),
        ("comment", 1),
    ],
)
def test_a_value_out_of_its_range_is_refused(metric, value):
    with pytest.raises(BadFeedbackError):
        check(vote("d", value, metric=metric))


def test_the_message_names_the_field_and_its_range():
    with pytest.raises(BadFeedbackError, match=r"value = 7; want a finite number in \[1, 5\]"):
        normalise("rating", 7)


@pytest.mark.parametrize("source", ["", "a\x00", "\ud800"])
def test_a_source_that_cannot_be_stored_is_refused(source):
    with pytest.raises(BadFeedbackError, match="source"):
        check(vote("d", source=source))


def test_an_unknown_metric_cannot_be_withdrawn_either():
    with pytest.raises(BadFeedbackError, match="metric"):
        check(vote("d", None, metric="stars"))


def test_confidence_must_be_finite():
    with pytest.raises(BadFeedbackError, match=r"confidence\.margin"):
        check_outcome(outcome("d", confidence={"margin": math.nan}))


def test_a_metric_counts_once_however_many_sources_it_has():
    judges = [vote("d", 0.0, metric="judge", source=f"j{n}") for n in range(100)]
    success = vote("d", 1, metric="task_success")
    assert combine([*judges, success]) == pytest.approx(4 / 5)


def test_sources_of_one_metric_are_averaged():
    assert combine([vote("d", 1), vote("d", 0, source="ben")]) == 0.5


def test_only_the_latest_row_of_a_source_counts():
    assert combine([vote("d", 1), vote("d", 0)]) == 0.0
    assert combine([vote("d", 1), vote("d", None)]) is None
    assert combine([]) is None


def test_weights_are_settings():
    rows = [vote("d", 1), vote("d", 0, metric="judge")]
    assert combine(rows, {"thumbs": 1.0, "judge": 3.0}) == 0.25
    assert combine(rows, {"thumbs": 1.0}) == 1.0


@pytest.mark.parametrize(
    "bad", [{"weights": {"stars": 1.0}}, {"weights": {"judge": -1.0}}, {"default_quality": 1.5}]
)
def test_rules_that_make_no_sense_are_refused(bad):
    with pytest.raises(BadFeedbackError):
        RewardRules(**bad)


def test_a_reward_waits_for_what_it_needs():
    balanced = PRESETS["balanced"]
    assert to_reward(balanced, quality=1.0, outcome=None).value is None
    whole = to_reward(balanced, quality=1.0, outcome=outcome("d"))
    assert whole.value == balanced.reward(quality=1.0, cost_usd=0.002, latency_s=0.5)


def test_a_failure_has_no_reward():
    failed = outcome("d", failure="timeout")
    assert to_reward(PRESETS["balanced"], quality=1.0, outcome=failed).value is None
