"""The numbers of results.json, against cases worked out by hand."""

import numpy as np
import pytest

from bandit.utility import Scenario
from simulator.drift import Phase
from simulator.hindsight import Like, equal_spend
from simulator.metrics import (
    Yardstick,
    apgr,
    bootstrap,
    cpt,
    measure,
    measure_windows,
    over_seeds,
    recovery_curve,
    true_rewards,
)
from simulator.plots import upper_hull
from simulator.trace import Trace
from tests.studies import QUALITY

EDGE = np.array([1.0, 0.0, 0.0, 1.0])
CLOUD = np.array([1.0, 1.0, 1.0, 1.0])


def test_a_constant_advantage_is_a_random_order():
    curve = recovery_curve(np.zeros(4), EDGE, CLOUD)
    assert apgr(*curve) == pytest.approx(0.5)
    assert cpt(*curve, 0.5) == pytest.approx(0.5)
    assert cpt(*curve, 0.8) == pytest.approx(0.8)


def test_the_right_order_recovers_the_gap_first():
    # Corners (0,0), (.5,1), (1,1): area .25 + .5.
    curve = recovery_curve(CLOUD - EDGE, EDGE, CLOUD)
    assert apgr(*curve) == pytest.approx(0.75)
    assert cpt(*curve, 0.5) == pytest.approx(0.25)


def test_the_wrong_order_recovers_it_last():
    curve = recovery_curve(EDGE - CLOUD, EDGE, CLOUD)
    assert apgr(*curve) == pytest.approx(0.25)


def test_an_oracle_can_exceed_one_where_the_edge_wins_some():
    # Gains +1, +1, -1: recovered 1, 2, 1 of a gap of 1. Area (.5 + 1.5 + 1.5) / 3.
    edge, cloud = np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])
    assert apgr(*recovery_curve(cloud - edge, edge, cloud)) == pytest.approx(3.5 / 3)


def test_ties_count_as_their_mean_over_random_orders():
    rng = np.random.default_rng(0)
    edge, cloud = rng.random(12), rng.random(12) + 0.3
    tied = np.repeat([3.0, 2.0, 1.0], 4)
    shuffled = [
        apgr(*recovery_curve(tied + 1e-6 * rng.random(12), edge, cloud)) for _ in range(4000)
    ]
    assert apgr(*recovery_curve(tied, edge, cloud)) == pytest.approx(np.mean(shuffled), abs=2e-3)


def test_without_a_gap_there_is_no_recovery():
    assert apgr(*recovery_curve(np.arange(4.0), CLOUD, EDGE)) is None
    assert cpt(*recovery_curve(np.arange(4.0), CLOUD, EDGE), 0.5) is None


def test_rounds_where_an_arm_was_missing_are_left_out():
    advantage = np.array([1.0, np.nan, 0.0, np.nan])
    share, _ = recovery_curve(advantage, EDGE, CLOUD + EDGE)
    assert share.tolist() == [0.0, 0.5, 1.0]


def trace(n=8):
    made = Trace.empty(n)
    made.arm[n // 2 :] = 1
    made.quality[:] = np.where(made.arm == 1, 0.9, 0.4)
    made.cost_usd[:] = np.where(made.arm == 1, 0.03, 0.01)
    made.latency_s[:] = np.where(made.arm == 1, 4.0, 2.0)
    made.reward[:] = made.quality
    made.best[:] = 0.9
    made.edge_quality[:], made.cloud_quality[:] = 0.4, 0.9
    made.edge_s[:], made.cloud_s[:] = 2.0, 4.0
    return made


YARDSTICK = Yardstick(("e", "c"), Scenario("even", 0.5, 0.25, 0.25), budget_usd=0.01)


def test_a_window_is_measured_as_its_definitions_say():
    found = measure(trace(), YARDSTICK)
    assert found["quality"] == pytest.approx(0.65)
    assert found["cost_usd"] == pytest.approx(0.02)
    assert found["spend_over_budget"] == pytest.approx(2.0)
    assert found["regret"] == pytest.approx(0.25)
    assert found["share"] == {"e": 0.5, "c": 0.5}
    # Half solved, half kept at the edge, half-way between the two latencies.
    assert found["rcs"] == pytest.approx(0.5 * 0.5 + 0.25 * 0.5 + 0.25 * 0.5)


def test_halves_and_phases_are_cut_where_they_should_be():
    windows = measure_windows(
        trace(), Yardstick(("e", "c"), QUALITY, phases=(Phase("P", 2, 4), Phase("late", 90, 99)))
    )
    assert [half["share"]["c"] for half in windows["halves"]] == [0.0, 1.0]
    assert [(p["name"], p["start"], p["end"]) for p in windows["phases"]] == [("P", 2, 4)]
    assert windows["all"]["spend_over_budget"] is None


def test_over_seeds_takes_means_and_bounds_quality():
    runs = [measure_windows(trace(n), YARDSTICK) for n in (8, 8)]
    runs[1]["all"]["quality"] = 0.75
    found = over_seeds(runs)["all"]
    assert found["quality"] == pytest.approx(0.7)
    assert found["quality_low"] == pytest.approx(0.65)
    assert found["quality_high"] == pytest.approx(0.75)


def test_the_bootstrap_is_the_same_every_time_and_narrows():
    values = np.random.default_rng(0).normal(0.5, 0.1, 20).tolist()
    low, high = bootstrap(values)
    assert (low, high) == bootstrap(values)
    # The normal interval is ± 1.96 sd / sqrt(20).
    half = 1.96 * np.std(values) / np.sqrt(20)
    assert high - low == pytest.approx(2 * half, rel=0.15)


def test_rewards_of_matrices_are_those_of_the_scenario():
    scenario = Scenario("s", 0.5, 0.3, 0.2, mes=0.8, cost_ceiling_usd=0.01, latency_ceiling_s=5.0)
    rng = np.random.default_rng(0)
    quality, cost, latency = rng.random((6, 2)), rng.random((6, 2)) * 0.02, rng.random((6, 2)) * 9
    expected = [
        scenario.reward(quality=q, cost_usd=c, latency_s=s)
        for q, c, s in zip(quality.ravel(), cost.ravel(), latency.ravel(), strict=True)
    ]
    found = true_rewards(scenario, quality, cost, latency).ravel()
    np.testing.assert_allclose(found, expected)


def test_the_hull_keeps_only_what_mixes_cannot_beat():
    points = [(0.0, 0.2), (1.0, 0.3), (1.5, 0.8), (4.0, 0.9), (3.0, 0.5), (5.0, 0.85)]
    assert upper_hull(points) == [(0.0, 0.2), (1.5, 0.8), (4.0, 0.9), (5.0, 0.9)]


def test_the_random_mix_costs_what_the_other_did():
    like = Like({"e": 0.4, "m": 0.2, "c": 0.4}, cost_usd=0.5)
    costs = {"e": 0.0, "m": 0.2, "c": 1.0}
    shares = equal_spend(like, "e", costs)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert sum(shares[arm] * costs[arm] for arm in costs) == pytest.approx(0.5)
    assert shares["c"] == pytest.approx(2 * shares["m"])
