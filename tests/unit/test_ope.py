"""Off-policy estimators against what can be worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bandit.influence import dr_influence, snips_influence, switch_dr_influence, switch_threshold
from bandit.intervals import student_quantile
from bandit.ope import (
    bernstein,
    cressie_read,
    dr,
    estimate_all,
    ips,
    replay,
    snips,
    switch_dr,
)
from bandit.sample import BadSampleError, Sample
from bandit.support import (
    WeightAboveMaximumError,
    effective_sample_size,
    outcome_observation,
    support_report,
)
from tests.worlds import BALANCED, GRADED


def small():
    """Weights 2, 2, 0, 4."""
    return Sample(
        np.array([1.0, 0.0, 1.0, 0.5]),
        np.array([0.5, 0.5, 0.5, 0.25]),
        np.array([1.0, 1.0, 0.0, 1.0]),
        np.array([0.75, 0.25, 0.5, 0.5]),
        np.array([0.75, 0.25, 0.25, 0.5]),
    )


def one_log(world=BALANCED, *, n=2000, floor=0.05, seed=3):
    logs = world.logs(np.random.default_rng(seed), n_logs=1, n=n, floor=floor, shuffled=True)
    columns = (logs.reward, logs.propensity, logs.target, logs.q_logged, logs.q_target)
    return Sample(*(column[0] for column in columns))


def test_the_points_are_those_of_the_formulas():
    log = small()
    assert ips(log).value == pytest.approx((2 + 0 + 0 + 2) / 4)
    assert snips(log).value == pytest.approx((2 + 0 + 0 + 2) / 8)
    # DR: mean of .75 + 2 (.25), .25 + 2 (-.25), .25 + 0, .5 + 4 (0)
    assert dr(log).value == pytest.approx((1.25 - 0.25 + 0.25 + 0.5) / 4)
    # SWITCH at 3 leaves out the last correction, which is nothing here, and at 1 every one.
    assert switch_dr(log, tau=3.0).value == pytest.approx(dr(log).value)
    assert switch_dr(log, tau=1.0).value == pytest.approx((0.75 + 0.25 + 0.25 + 0.5) / 4)


def test_without_weights_the_value_is_the_mean_and_the_interval_wilsons():
    """Wilson (1927) with Student's t in place of z, for 30 of 100."""
    ones = np.ones(100)
    found = snips(Sample(np.repeat([1.0, 0.0], [30, 70]), ones, ones))
    t = float(student_quantile(0.05, 99.0))
    n = 99.0  # the unbiased variance divides by n - 1
    middle, half = (0.3 + t * t / (2 * n)) / (1 + t * t / n), t / (1 + t * t / n)
    half *= np.sqrt(0.3 * 0.7 / n + t * t / (4 * n * n))
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=2e-3)
    assert found.ess == 100.0


def test_all_successes_leave_room_below():
    """With r = 1 throughout the standard error is 0; the interval is not a point."""
    ones = np.ones(50)
    found = snips(Sample(ones, ones, ones))
    assert found.high == pytest.approx(1.0)
    assert 0.90 < found.low < 0.95


def test_the_default_threshold_is_never_worse_by_its_own_bound_than_dr():
    log = one_log(floor=0.02)
    weight = log.weight
    tau = float(switch_threshold(log))
    mass = np.where(weight > tau, weight, 0.0).mean()
    bound = switch_dr_influence(log, tau).scores.var() / log.n + mass**2
    assert bound <= dr_influence(log).scores.var() / log.n + 1e-15


def test_replay_keeps_about_one_row_in_the_largest_weight_and_its_mean():
    log = one_log(n=20_000)
    found = replay(log, np.random.default_rng(1))
    # 20 is the largest weight; 20,000 / 20 rows, sd about 31.
    assert abs(found.n - 1000) < 4 * 31
    assert found.low < BALANCED.value < found.high


def test_replay_under_uniform_logging_keeps_exactly_the_agreeing_rows():
    half = np.full(6, 0.5)
    agree = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    reward = np.array([1.0, 0.0, 0.25, 0.5, 1.0, 0.0])
    found = replay(Sample(reward, half, agree), np.random.default_rng(0))
    assert (found.n, found.value) == (4, pytest.approx(reward[agree == 1].mean()))


def test_sessions_that_move_together_widen_the_interval():
    """Ten copies of every row carry the information of one: √10 wider."""
    log = one_log(n=500, floor=0.2)
    copies = {
        name: np.repeat(getattr(log, name), 10)
        for name in ("reward", "propensity", "target", "q_logged", "q_target")
    }
    blind = Sample(**copies)
    aware = replace(blind, session=np.repeat(np.arange(500), 10))
    for estimate in (ips, snips, dr, cressie_read):
        narrow, wide = estimate(blind), estimate(aware)
        ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
        assert wide.value == pytest.approx(narrow.value)
        assert ratio == pytest.approx(np.sqrt(10), rel=0.05)


def test_sessions_of_one_row_change_nothing():
    log = one_log()
    named = replace(log, session=np.array([f"s{i}" for i in range(log.n)]))
    assert snips(named).low == pytest.approx(snips(log).low, abs=1e-12)


def test_a_guaranteed_interval_is_wider_than_any_other():
    log = one_log()
    sure, usual = bernstein(log, w_max=20.0), dr(log)
    assert sure.low <= usual.low
    assert sure.high >= usual.high


def test_a_weight_above_the_stated_maximum_is_refused():
    with pytest.raises(WeightAboveMaximumError, match="20 exceeds w_max = 10"):
        bernstein(one_log(), w_max=10.0)


def test_a_cascade_shows_answers_in_two_ways():
    """Enumerate a log over three arms and a gate: IPS by observation is exact for both arms."""
    p = {"edge": 0.2, "cloud": 0.3, "cascade": 0.5}
    escalate, reward = 0.4, {"edge": 0.6, "cloud": 0.9}
    seen_edge, seen_cloud = outcome_observation(**p, escalate=escalate)
    # (probability, escalated, the arms whose answers were seen)
    worlds = [
        (p["edge"], {"edge"}),
        (p["cloud"], {"cloud"}),
        (p["cascade"] * escalate, {"edge", "cloud"}),
        (p["cascade"] * (1 - escalate), {"edge"}),
    ]
    for arm, seen in (("edge", seen_edge), ("cloud", seen_cloud)):
        total = 0.0
        for chance, shown in worlds:
            row = Sample(
                np.array([reward[arm]]),
                np.array([p["cascade"]]),
                np.array([float(arm in shown)]),
                observation_probability=np.array([seen]),
            )
            total += chance * ips(row).value if arm in shown else 0.0
        assert total == pytest.approx(reward[arm], abs=1e-12)


def test_a_log_that_never_agrees_says_so():
    half = np.full(3, 0.5)
    log = Sample(np.ones(3), half, np.zeros(3), half, half)
    for found in estimate_all(log):
        assert np.isnan(found.value)
        assert (found.low, found.high) == (0.0, 1.0)
        assert "no logged decision agrees" in found.warnings[0]
    assert json.loads(json.dumps(found.to_dict()))["value"] is None


def test_few_effective_rows_are_warned_of():
    text = " ".join(snips(one_log(n=200, floor=0.02)).warnings)
    assert "200 decisions are worth only" in text


def test_weights_that_do_not_average_to_one_are_warned_of():
    half = np.full(2000, 0.5)
    log = Sample(np.ones(2000), half, np.tile([0.5, 0.2], 1000))
    assert any("average 0.70 instead of 1" in text for text in snips(log).warnings)


def test_missing_support_is_measured_and_said():
    target = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    logged = np.array([[0.9, 0.1, 0.0], [0.99, 0.01, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    found = support_report(target, logged, floor=0.05)
    assert found.unsupported == pytest.approx(0.25)
    assert found.below_floor == pytest.approx(0.5)
    assert found.largest_weight == pytest.approx(100.0)
    assert "25.0% of what the candidate would do was never tried" in found.warnings[0]
    assert "25.0% of what the candidate would do was tried with less" in found.warnings[1]


def test_full_support_has_nothing_to_say():
    pmf = np.full((4, 2), 0.5)
    assert support_report(pmf, pmf, floor=0.5).warnings == ()


def test_effective_rows_are_all_of_them_when_weights_are_equal():
    assert effective_sample_size(np.full((2, 5), 3.0)).tolist() == [5.0, 5.0]
    assert float(effective_sample_size(np.zeros(4))) == 0.0


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("reward", [0.5, 1.5]),
        ("reward", [0.5, np.nan]),
        ("reward", [0.5, -0.1]),
        ("propensity", [0.5, 0.0]),
        ("propensity", [0.5, 1.1]),
        ("target", [0.5, -0.5]),
        ("target", [0.5]),
        ("observation_probability", [0.5, 0.0]),
        ("q_logged", [0.5, np.inf]),
        ("session", [1, 2, 3]),
    ],
)
def test_arrays_that_are_no_log_are_refused_by_name(field, values):
    good = {name: np.array([0.5, 0.5]) for name in ("reward", "propensity", "target")}
    with pytest.raises(BadSampleError, match=field):
        Sample(**{**good, field: np.array(values)})


def test_a_model_comes_whole_or_not_at_all():
    half = np.array([0.5])
    with pytest.raises(BadSampleError, match="together"):
        Sample(half, half, half, q_logged=half)
    with pytest.raises(BadSampleError, match="doubly robust"):
        dr(Sample(half, half, half))


def test_an_empty_log_is_refused():
    with pytest.raises(BadSampleError, match="non-empty"):
        Sample(np.empty(0), np.empty(0), np.empty(0))


def test_many_logs_at_once_are_many_calls():
    logs = GRADED.logs(np.random.default_rng(0), n_logs=3, n=50, floor=0.1)
    for i, value in enumerate(snips_influence(logs).value):
        alone = Sample(logs.reward[i], logs.propensity[i], logs.target[i])
        assert snips(alone).value == pytest.approx(float(value), abs=1e-12)
