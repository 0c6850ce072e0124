"""Latency objectives and quality floors: prices that keep them, and change no reward."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bandit.objectives import LatencyObjective, LatencyPacer, QualityFloor, QualityPacer
from bandit.pacing import BadPacerError, BudgetPacer, PacerConfig
from bandit.packing import scenario_from_dict, scenario_to_dict
from bandit.policies.config import PolicyConfig
from bandit.policies.exploration import inverse_gap_weighting
from bandit.policies.factory import make_policy
from bandit.primitives import Estimate, Prediction
from bandit.utility import BadScenarioError, Scenario, lateness
from tests import studies
from tests.unit.test_pacing import ASKED, arms, live

NAMES = ("small", "large")
CHEAP = Scenario("cheap", 0.0, 1.0, 0.0, cost_ceiling_usd=0.01)


def predict(scenario, quality, cost, latency):
    """What a policy with known means would say, 0.1 being its typical gap."""
    estimates = tuple(
        Estimate(q, c, s, scenario.w_quality * q + scenario.w_cost * scenario.cost_term(c))
        for q, c, s in zip(quality, cost, latency, strict=True)
    )
    net = [
        e.utility - scenario.charge(e.cost_usd, latency_s=e.latency_s, quality=e.quality)
        for e in estimates
    ]
    return Prediction(NAMES, inverse_gap_weighting(net, gamma=200.0, floor=0.002), "v", estimates)


def test_one_answer_in_twenty_is_late_where_the_better_arm_is_often_late():
    rng, late = np.random.default_rng(0), []
    pacer = LatencyPacer(LatencyObjective(4.0))
    for _ in range(4000):
        scenario = pacer.priced(ASKED)
        mean_s = np.array([0.8, 4.0 * rng.lognormal(0.0, 0.5)])
        prediction = predict(scenario, (0.7, 0.9), (0.0, 0.0), mean_s)
        j = rng.choice(2, p=prediction.pmf)
        latency_s = mean_s[j] * rng.lognormal(-0.08, 0.4)
        late.append(latency_s > 4.0)
        pacer.completed(prediction, scenario, latency_s)
    # What may be saved or owed at the end is at most two late answers of the 200 allowed.
    assert 0.045 <= np.mean(late) <= 0.052


def test_an_objective_that_is_kept_anyway_costs_next_to_nothing():
    pacer = LatencyPacer(LatencyObjective(60.0))
    for _ in range(300):
        scenario = pacer.priced(ASKED)
        pacer.completed(predict(scenario, (0.7, 0.9), (0.0, 0.0), (0.5, 2.0)), scenario, 1.0)
    assert pacer.price * lateness(2.0, 60.0) < 1e-3


def test_two_objectives_that_cannot_both_be_kept_do_not_drive_prices_beyond_every_number():
    rng = np.random.default_rng(0)
    quick, good = LatencyPacer(LatencyObjective(1.5)), QualityPacer(QualityFloor(0.85))
    for _ in range(600):
        scenario = good.priced(quick.priced(ASKED))
        latency_s = (rng.lognormal(0.0, 0.5), 3.0 * rng.lognormal(0.0, 0.5))
        prediction = predict(scenario, (0.6, 0.9), (0.0, 0.0), latency_s)
        j = rng.choice(2, p=prediction.pmf)
        quick.completed(prediction, scenario, latency_s[j])
        good.judged(prediction, scenario, (0.6, 0.9)[j])
    # Each price finds what the other one adds to the distances that it has to outdo.
    assert max(quick.price, good.price) < 1e12


def test_quality_is_bought_up_to_the_floor_and_no_further():
    rng, seen = np.random.default_rng(0), []
    pacer = QualityPacer(QualityFloor(0.8))
    for _ in range(6000):
        scenario = pacer.priced(CHEAP)
        quality = np.clip([0.7 + 0.1 * rng.standard_normal(), 0.92], 0.0, 1.0)
        prediction = predict(scenario, quality, (0.0, 0.005), (1.0, 1.0))
        j = rng.choice(2, p=prediction.pmf)
        seen.append(float(np.clip(quality[j] + 0.15 * rng.standard_normal(), 0.0, 1.0)))
        pacer.judged(prediction, scenario, seen[-1])
    sums = np.cumsum(np.array(seen)[1000:])
    windows = (sums[500:] - sums[:-500]) / 500
    assert np.mean(windows < 0.8) <= 0.01
    assert np.mean(seen[1000:]) <= 0.84


def test_the_floor_s_price_fades_where_the_cheap_arm_is_good_enough():
    pacer = QualityPacer(QualityFloor(0.5))
    for _ in range(300):
        scenario = pacer.priced(CHEAP)
        pacer.judged(predict(scenario, (0.8, 0.9), (0.0, 0.005), (1.0, 1.0)), scenario, 0.8)
    assert pacer.price * (0.9 - 0.8) < 1e-2


def test_prices_of_latency_and_quality_change_no_reward_and_survive_packing():
    plain = Scenario("s", 0.4, 0.3, 0.3)
    priced = Scenario("s", 0.4, 0.3, 0.3, latency_price=2.0, latency_slo_s=3.0, quality_price=5.0)
    facts = {"quality": 0.8, "cost_usd": 0.01, "latency_s": 4.0}
    assert priced.reward(**facts) == plain.reward(**facts)
    assert scenario_from_dict(scenario_to_dict(priced)) == priced


@pytest.mark.parametrize(
    "wrong", [{"latency_price": -1.0}, {"quality_price": float("nan")}, {"latency_slo_s": 0.0}]
)
def test_prices_that_are_none_are_refused(wrong):
    with pytest.raises(BadScenarioError, match=next(iter(wrong))):
        Scenario("bad", 1.0, 0.0, 0.0, **wrong)


def test_composed_leaves_a_slow_arm_the_dearer_lateness_is_and_a_bad_one_the_dearer_quality_is():
    policy = make_policy(PolicyConfig("composed", {"first": 2, "second": 2}))
    context = studies.study(5).bank.contexts()[0]
    slow, quick, _ = arms()
    slow = replace(slow, features={"queue_s": 20.0})

    def share(**prices):
        scenario = Scenario("priced", 1.0, 0.0, 0.0, **prices)
        return policy.predict(context, (slow, quick), scenario).propensity("small")

    assert share() == pytest.approx(0.5, abs=1e-6)
    assert share(latency_price=1.0, latency_slo_s=5.0) < 0.1
    assert share(quality_price=1.0) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LatencyObjective(0.0),
        lambda: LatencyObjective(float("inf")),
        lambda: QualityFloor(1.0),
        lambda: QualityFloor(0.5, window=0),
        lambda: QualityFloor(0.5, margin=-1.0),
    ],
)
def test_objectives_out_of_range_are_refused(make):
    with pytest.raises(BadPacerError):
        make()


def test_a_pacer_that_is_saved_and_restored_goes_on_as_if_nothing_had_been():
    one = BudgetPacer(PacerConfig(6.6e-4))
    live(one, 700)
    other = BudgetPacer(PacerConfig(6.6e-4))
    other.restore(one.state())
    assert other.state() == one.state()
    assert live(other, 200, seed=1).tolist() == live(one, 200, seed=1).tolist()
    assert other.state() == one.state()


@pytest.mark.parametrize("damage", [{"window": {}}, {"price": "dear"}, {"lag": [1.0]}])
def test_a_damaged_pacer_state_is_refused(damage):
    pacer = BudgetPacer(PacerConfig(1e-3))
    with pytest.raises(BadPacerError, match="state"):
        BudgetPacer(PacerConfig(1e-3)).restore({**pacer.state(), **damage})


def test_a_saved_pacer_continues_as_if_it_had_never_stopped():
    late, good = LatencyPacer(LatencyObjective(2.0)), QualityPacer(QualityFloor(0.8))
    others = LatencyPacer(LatencyObjective(2.0)), QualityPacer(QualityFloor(0.8))
    for n in range(150):
        if n == 100:
            others[0].restore(json.loads(json.dumps(late.state())))
            others[1].restore(json.loads(json.dumps(good.state())))
        asked = good.priced(late.priced(ASKED))
        said = predict(asked, (0.7, 0.9 + n / 1e4), (0.0, 0.001), (0.5, 2.0))
        for pacers in ((late, good), others)[: 1 + (n >= 100)]:
            pacers[0].completed(said, asked, 1.0 + n % 3)
            pacers[1].judged(said, asked, 0.5 + 0.1 * (n % 5))
    assert [pacer.state() for pacer in others] == [late.state(), good.state()]


@pytest.mark.parametrize(
    "made", [LatencyPacer(LatencyObjective(2.0)), QualityPacer(QualityFloor(0.8))]
)
@pytest.mark.parametrize("damage", ["objective", "pacer", "seen"])
def test_a_state_of_another_objective_or_none_at_all_is_refused(made, damage):
    state = made.state()
    if damage not in state:
        damage = "pacer"
    state[damage] = {"p95_latency_s": 9.0}
    with pytest.raises(BadPacerError):
        made.restore(state)
