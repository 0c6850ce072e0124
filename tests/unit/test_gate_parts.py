"""The parts of a gate: scale, calibration, what a cascade is worth, whose lesson it is."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from bandit.errors import BadInteractionError
from bandit.policies.cascades import (
    Cascades,
    bills,
    joined,
    judged_pair,
    shifted,
    taught_elsewhere,
)
from bandit.policies.config import PolicyConfig
from bandit.policies.gatehouse import EdgeAnswer, Gatehouse
from bandit.policies.inputs import check_interaction
from bandit.policies.isotonic import Calibration, isotonic
from bandit.policies.proof import Proof
from bandit.policies.signals import SignalScale
from bandit.primitives import Arm, Estimate, Gating, Interaction, Prediction, Reward
from bandit.utility import Scenario
from features.answer import READ_CHARS, answer_signals
from tests.makers import decision

QUALITY = Scenario("quality-only", 1.0, 0.0, 0.0)
EDGE = Arm("edge", "edge", "small", 0.1, 0.1, digest="small:1")
CLOUD = Arm("cloud", "cloud", "large", 2.0, 8.0)
BOTH = Arm("cascade", "cascade", "small+large", parts=("edge", "cloud"))
JUDGED = Prediction(("accept", "escalate"), (0.75, 0.25), "v")


def gated(verdict="escalate", **changes):
    p = JUDGED.propensity(verdict)
    values = {"edge_cost_usd": 0.001, "edge_latency_s": 1.0, **changes}
    return Gating("edge", "cloud", {"margin_mean": 0.5}, JUDGED, verdict, p, **values)


def cascaded(gating):
    made = decision(arms=(EDGE, CLOUD, BOTH), arm="cascade")
    return Interaction(made, Reward(None, 0.005, 4.0), signals=gating.signals, gating=gating)


def test_isotonic_regression_is_the_best_monotone_fit():
    """Against every monotone fit with levels on a grid of five."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, size=6) / 4.0
    x, level = isotonic(np.arange(6.0), y)
    fitted = level[np.searchsorted(np.append((x[:-1] + x[1:]) / 2, np.inf), np.arange(6.0))]
    grid = np.linspace(0.0, 1.0, 5)
    best = min(
        float(((np.array(fit) - y) ** 2).sum())
        for fit in itertools.combinations_with_replacement(grid, 6)
    )
    assert float(((fitted - y) ** 2).sum()) <= best + 1e-12
    assert (np.diff(level) > 0.0).all()


@pytest.mark.parametrize("n", [1, 30, 200, 700])
def test_calibration_keeps_the_order_of_answers(n):
    rng = np.random.default_rng(n)
    calibration = Calibration()
    for x in rng.random(n):
        calibration.learn(float(x), float(rng.random() < x * x))
    found = [calibration(float(x)) for x in np.linspace(-0.2, 1.2, 50)]
    assert (np.diff(found) > 0.0).all()


def test_calibration_comes_near_the_truth():
    """Predicted x, true x squared: off by up to a quarter before. A block of some 50 of the last
    500 pairs has a standard error of .07; a tenth on average is far less than before."""
    rng = np.random.default_rng(3)
    calibration = Calibration()
    for x in rng.random(700):
        calibration.learn(float(x), float(rng.random() < x * x))
    grid = np.linspace(0.1, 0.9, 30)
    before = np.abs(grid - grid**2).mean()
    after = np.mean([abs(calibration(float(x)) - x * x) for x in grid])
    assert after < 0.1 < before


def test_a_calibration_continues_exactly():
    rng = np.random.default_rng(4)
    first = Calibration()
    for x in rng.random(90):
        first.learn(float(x), float(rng.random() < x))
    twin = Calibration(**first.state())
    for x in rng.random(90):
        for calibration in (first, twin):
            calibration.learn(float(x), 1.0 - float(x))
    assert [first(x) for x in (0.1, 0.5, 0.9)] == [twin(x) for x in (0.1, 0.5, 0.9)]


def test_signals_are_standardised_by_the_model_that_gave_them():
    scale = SignalScale()
    rng = np.random.default_rng(5)
    for x in rng.normal(-2.0, 0.5, size=400):
        scale.note({"logprob_mean": float(x)}, "small:1")
    z, known = scale.vector({"logprob_mean": -1.5}, "small:1")
    assert z[0] == pytest.approx(1.0, abs=0.15)
    assert known.sum() == 1.0


def test_a_new_digest_starts_from_the_last_scale_and_leaves_it_soon():
    scale = SignalScale()
    for _ in range(100):
        scale.note({"logprob_mean": -2.0}, "small:1")
    assert scale.vector({"logprob_mean": -2.0}, "small:2")[0][0] == pytest.approx(0.0)
    for i in range(400):
        scale.note({"logprob_mean": -8.0 + (-1) ** i}, "small:2")
    assert abs(scale.vector({"logprob_mean": -8.0}, "small:2")[0][0]) < 0.3


def test_before_any_label_a_sure_answer_looks_better_than_an_unsure_one():
    scale = SignalScale()
    for x in np.linspace(-3.0, -0.5, 50):
        scale.note({"logprob_mean": float(x), "n_tokens": 40.0 - 5.0 * float(x)}, "small:1")
    hunches = [
        scale.hunch(scale.vector({"logprob_mean": x}, "small:1")[0]) for x in (-3.0, -1.5, -0.5)
    ]
    assert hunches == sorted(hunches)
    assert scale.hunch(scale.vector({}, "small:1")[0]) == 0.5


def test_a_cascade_is_worth_what_its_formula_says():
    """At nearly equal utilities the gain of looking is s / sqrt(2 pi), and half the answers
    escalate."""
    edge, cloud = Estimate(0.6, 0.0, 1.0, 0.6), Estimate(0.601, 0.004, 2.0, 0.601)
    found = joined(edge, cloud, QUALITY, told=0.2)
    assert found.utility == pytest.approx(0.6 + 0.2 / math.sqrt(2 * math.pi) + 5e-4, abs=1e-4)
    assert found.cost_usd == pytest.approx(0.002, abs=2e-5)
    assert found.latency_s == pytest.approx(2.0, abs=0.01)


def test_the_weak_model_is_skipped_when_the_strong_one_will_be_needed_anyway():
    """With money dear enough to matter and the cloud far better, the edge's bill buys nothing."""
    priced = replace(QUALITY, cost_price=20.0)
    edge, cloud = Estimate(0.2, 0.002, 1.0, 0.2), Estimate(0.9, 0.004, 2.0, 0.9)
    both = joined(edge, cloud, priced, told=0.1)
    assert both.utility - priced.charge(both.cost_usd) < cloud.utility - priced.charge(0.004)


def test_where_money_is_dear_a_cascade_keeps_nearly_every_answer():
    priced = replace(QUALITY, cost_price=200.0)
    edge, cloud = Estimate(0.6, 0.0, 1.0, 0.6), Estimate(0.7, 0.004, 2.0, 0.7)
    both = joined(edge, cloud, priced, told=0.1)
    assert both.cost_usd < 0.01 * cloud.cost_usd


def test_without_a_cascade_every_arm_is_explored():
    assert taught_elsewhere([0.1, 0.7], (EDGE, CLOUD)) == [False, False]


def test_a_gate_that_thinks_less_of_the_edge_does_not_make_a_cascade_better_than_its_cloud():
    """Its cloud is right, its edge nearly never: to look first can gain nothing. A gate that is
    sure of the edge's failures moves the edge, not the worth of the cascade."""
    config = PolicyConfig("composed", {"constant": 1})
    house = Gatehouse().state() | {"added": [-30.0, 0.0, 9.1, 0.0, 0.0, 100.0]}
    cascades = Cascades(config, {"house": house})
    found = {
        "edge": Estimate(0.5, 0.0, 1.0, 0.5),
        "cloud": Estimate(1.0, 0.004, 2.0, 1.0),
        "cascade": Estimate(None, None, None, 0.0),
    }
    held = cascades.valued(found, (EDGE, CLOUD, BOTH), QUALITY)
    assert held["edge"] == Estimate(pytest.approx(0.2), 0.0, 1.0, pytest.approx(0.2))
    assert held["cloud"] == found["cloud"]
    assert held["cascade"].utility == pytest.approx(1.0, abs=1e-6)


def test_an_edge_of_two_cascades_is_moved_once():
    config = PolicyConfig("composed", {"constant": 1})
    house = Gatehouse().state() | {"added": [-10.0, 0.0, 1.1, 0.0, 0.0, 100.0]}
    other = Arm("other", "cloud", "other", 2.0, 8.0)
    second = replace(BOTH, arm_id="second", parts=("edge", "other"))
    arms = (EDGE, CLOUD, other, BOTH, second)
    found = {arm.arm_id: Estimate(0.5, 0.0, 1.0, 0.5) for arm in arms}
    held = Cascades(config, {"house": house}).valued(found, arms, QUALITY)
    assert held["edge"].quality == pytest.approx(0.4)
    assert list(held) == list(found)


def test_a_quality_that_is_moved_moves_its_utility_by_its_weight():
    half = Scenario("half", 0.5, 0.5, 0.0)
    moved = shifted(Estimate(0.75, 0.0, 1.0, 0.5), 0.125, half)
    assert (moved.quality, moved.utility) == (0.875, 0.5625)


def _house_of_margins(tells):
    """Answers with a margin of 0 or 1: right by it, or right half of the time whatever it is."""
    house, rng = Gatehouse(), np.random.default_rng(0)
    for _ in range(600):
        margin = float(rng.integers(2))
        answer = EdgeAnswer({"margin_mean": margin}, "small:1", 0.5, 0.8)
        house.note(answer)
        house.learn_edge(answer, margin if tells else float(rng.integers(2)))
    return house


def test_what_signals_tell_counts_as_far_as_it_came_true():
    """Where they tell all, the deviation of the edge's quality is .5; where nothing, what is left
    is the noise of a slope: with 500 labels and corrections of c, .5 / (c sqrt(500)), times c."""
    assert _house_of_margins(tells=True).told > 0.4
    assert _house_of_margins(tells=False).told < 0.05


def test_what_a_gate_knows_of_its_own_worth_is_kept():
    house = _house_of_margins(tells=True)
    again = Gatehouse(house.state(), house.dump())
    assert (again.told, again.levels) == (house.told, house.levels)


def test_corrections_that_are_noise_prove_nothing():
    rng = np.random.default_rng(0)
    proof = Proof()
    for correction, missed in zip(*rng.standard_normal((2, 2000)).tolist(), strict=True):
        proof.learn(0.2 * correction, 0.4 * missed)
    assert proof.slope < 0.1


def test_an_escalated_cascade_bills_both_of_its_arms_for_their_own_part():
    found = {arm.arm_id: bill for arm, bill in bills(cascaded(gated()))}
    assert found["edge"] == Reward(None, 0.001, 1.0)
    assert found["cloud"] == Reward(None, pytest.approx(0.004), pytest.approx(3.0))


def _answered(n_words):
    return EdgeAnswer({"n_words": n_words}, "small:1", 0.5, 0.8, cloud_usd=0.001)


def _house_of_bills():
    """The cloud's bill is a thousandth per hundred words of the edge; half of them have 50."""
    house = Gatehouse()
    for i in range(400):
        n_words = (50.0, 150.0)[i % 2]
        answer = _answered(n_words)
        house.note(answer)
        house.learn_bill(answer, 1e-5 * n_words)
    return house


def test_after_a_long_answer_the_gate_expects_a_larger_bill_of_the_cloud():
    house = _house_of_bills()
    short, long = (house.assess(_answered(n)).dearer for n in (50.0, 150.0))
    assert long / short == pytest.approx(3.0, rel=0.15)
    assert (short + long) / 2 == pytest.approx(1.0, abs=0.05)


def test_what_a_gate_knows_of_bills_is_kept():
    house = _house_of_bills()
    again = Gatehouse(house.state(), house.dump())
    assert again.assess(_answered(90.0)).dearer == pytest.approx(
        house.assess(_answered(90.0)).dearer, rel=1e-9
    )


def test_a_cloud_that_is_asked_the_long_questions_alone_is_not_taught_to_be_dear():
    house = _house_of_bills()
    config = PolicyConfig("composed", {"constant": 1})
    cascades = Cascades(config, {"house": house.state()}, house.dump())
    gating = replace(gated(edge_cost_usd=0.0), signals={"n_words": 150.0})
    asked = replace(cascaded(gating), reward=Reward(None, 0.0015, 4.0))
    found = {arm.arm_id: bill for arm, bill in cascades.bills(asked, _answered(150.0))}
    assert found["cloud"].cost_usd == pytest.approx(0.001, rel=0.1)
    assert found["edge"].cost_usd == 0.0


def test_an_accepted_cascade_bills_its_edge_alone():
    assert [arm.arm_id for arm, _ in bills(cascaded(gated("accept")))] == ["edge"]


def test_a_forced_verdict_bills_nobody():
    assert list(bills(cascaded(gated(forced=True)))) == []


def test_a_plain_cloud_answer_shows_no_signals_of_the_edge():
    made = decision(arms=(EDGE, CLOUD), arm="cloud")
    assert judged_pair(Interaction(made, Reward(0.5))) is None
    edge = decision(arms=(EDGE, CLOUD, BOTH), arm="edge")
    pair = judged_pair(Interaction(edge, Reward(0.5), signals={"margin_mean": 0.5}))
    assert (pair.edge, pair.cloud, pair.digest) == ("edge", "cloud", "small:1")


def test_a_verdict_without_a_probability_is_refused():
    with pytest.raises(BadInteractionError, match=r"gating\.propensity"):
        check_interaction(cascaded(replace(gated(), propensity=0.0)))


@pytest.mark.parametrize(
    "text", ["", " ", "\ud800", "a" * 100_000, "½²³ ٣٤٥ 数字", "#" * 50, "\0", "'" * 9]
)
def test_any_text_gives_finite_signals(text):
    found = answer_signals(text, text)
    assert found.keys() == answer_signals("x").keys()
    assert all(math.isfinite(value) for value in found.values())


def test_a_long_answer_is_read_at_both_ends():
    text = "I cannot say. " + "word " * READ_CHARS + "The answer is 7."
    found = answer_signals(text)
    assert (found["refuses"], found["concludes"], found["breaks_off"]) == (1.0, 1.0, 0.0)
