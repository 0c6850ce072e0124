"""Intervals by session."""

import numpy as np
import pytest

from simulator.clustering import MOST_GROUPS, Interval, Tally, clusters, ratio


def mean_of(values, names):
    tally = Tally(clusters(names))
    cut = tally.add(np.stack([values, np.ones(len(values))], axis=1))
    return tally, ratio(cut.start, cut.start + 1)


def test_without_sessions_it_is_the_interval_of_a_mean():
    values = np.random.default_rng(0).normal(size=2000)
    tally, mean = mean_of(values, [f"d{i}" for i in range(2000)])
    found = tally.interval(mean)
    half = 1.96 * values.std(ddof=1) / np.sqrt(2000)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.01)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_answers_that_come_together_count_as_one():
    values = np.repeat(np.random.default_rng(0).normal(size=100), 10)
    one, mean = mean_of(values, [f"d{i}" for i in range(1000)])
    ten, same = mean_of(values, [f"s{i // 10}" for i in range(1000)])
    narrow, wide = one.interval(mean), ten.interval(same)
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(
        np.sqrt(10), rel=0.1
    )


def test_one_session_has_a_value_and_no_bounds():
    tally, mean = mean_of(np.array([0.0, 1.0]), ["s", "s"])
    assert tally.interval(mean) == Interval(0.5)
    assert Interval(0.5).times(2.0) == Interval(1.0)


@pytest.mark.parametrize("rest", [1.9e-14, -1.9e-14])
def test_what_rounding_leaves_of_a_difference_of_equals_is_nothing(rest):
    tally = Tally(clusters(["a", "b", "c"]))
    tally.add(np.array([[rest, 1.0]] * 3))
    assert tally.interval(ratio(0, 1)) == Interval(0.0, 0.0, 0.0)
    assert str(tally.interval(ratio(0, 1)).value) == "0.0"


def test_bounds_of_what_cannot_be_negative_begin_at_zero():
    assert Interval(0.5, -1.0, 2.0).from_zero() == Interval(0.5, 0.0, 2.0)
    assert Interval(0.5, 0.1, 2.0).from_zero() == Interval(0.5, 0.1, 2.0)
    assert Interval(0.5).from_zero() == Interval(0.5)


def test_a_small_bill_is_no_rounding():
    tally = Tally(clusters(["a", "b"]))
    tally.add(np.array([[2e-9, 1.0]] * 2))
    assert tally.interval(ratio(0, 1)).value == 2e-9


def test_a_figure_that_hangs_on_one_session_has_no_bounds():
    """Without it there would be nothing to divide by."""
    tally = Tally(clusters(["a", "b", "c"]))
    tally.add(np.array([[0.5, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    assert tally.interval(ratio(0, 1)) == Interval(0.5)


def test_what_has_no_value_is_none():
    tally = Tally(clusters(["a", "b"]))
    tally.add(np.zeros((2, 2)))
    assert tally.interval(ratio(0, 1)) is None


def test_a_share_that_was_never_contradicted_is_not_taken_for_certain():
    tally, mean = mean_of(np.ones(20), [f"s{i}" for i in range(20)])
    found = tally.interval(mean, within=True)
    assert found.value == found.high == 1.0
    assert 0.7 < found.low < 0.9


def test_equal_values_are_not_taken_for_certain_for_want_of_the_last_digit():
    tally, mean = mean_of(np.full(20, 0.9), [f"s{i}" for i in range(20)])
    found = tally.interval(mean, within=True)
    assert found.low < 0.8
    assert found.high < 1.0


def test_more_sessions_than_groups_share_groups():
    values = np.random.default_rng(1).normal(size=3 * MOST_GROUPS)
    tally, mean = mean_of(values, [f"d{i}" for i in range(len(values))])
    assert tally.n_clusters == MOST_GROUPS
    found = tally.interval(mean)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert found.high - found.value == pytest.approx(half, rel=0.05)
