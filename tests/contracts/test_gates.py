"""What every gate promises, and what ours adds."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bandit.errors import BadInteractionError
from bandit.gate import VERDICTS, gatekeeper_of
from bandit.policies.beginning import head_start
from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.exploration import inverse_gap_weighting
from bandit.policies.factory import Lineup, make_lineup
from bandit.policies.guarded import GuardConfig
from bandit.primitives import Arm, Context, Decision, Gating, Interaction, Reward
from bandit.sampling import draw
from bandit.utility import PRESETS, Scenario

SCHEMA = {"constant": 1, "embedding": 4}
EDGE = Arm("edge", "edge", "small", 0.1, 0.1, digest="small:1")
CLOUD = Arm("cloud", "cloud", "large", 2.0, 8.0)
BOTH = Arm("cascade", "cascade", "small+large", parts=("edge", "cloud"))
ARMS = (EDGE, CLOUD, BOTH)
QUALITY = Scenario("quality-only", 1.0, 0.0, 0.0)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def context(rng):
    x = rng.standard_normal(4).astype(np.float32)
    return Context({"constant": np.ones(1, np.float32), "embedding": x}, "test")


def lesson(policy, at, arm, quality, signals, *, rng, scenario=QUALITY, **changes):
    """An interaction as the joiner would make it, the gate's verdict drawn where there is one."""
    prediction = policy.predict(at, ARMS, scenario)
    decision = Decision(
        "d", at, ARMS, scenario, prediction, arm, prediction.propensity(arm), "policy", NOW
    )
    gating = None
    if arm == "cascade":
        second = policy.gate(at, EDGE, CLOUD, scenario, signals)
        verdict, p = draw(second, rng)
        gating = Gating("edge", "cloud", signals, second, verdict, p, **changes)
    reward = Reward(quality, 0.001, 1.0)
    return Interaction(decision, reward, signals=signals, gating=gating)


def teach(policy, n, *, seed=0):
    """``n`` votes in a world where the edge is right as often as its margin says, the cloud .8."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        margin = float(rng.random())
        arm = ("edge", "cloud", "cascade")[int(rng.integers(3))]
        signals = {} if arm == "cloud" else {"margin_mean": margin, "n_tokens": 40.0}
        taught = lesson(policy, context(rng), arm, 0.0, signals, rng=rng)
        escalated = taught.gating is not None and taught.gating.verdict == "escalate"
        chance = 0.8 if arm == "cloud" or escalated else margin
        reward = replace(taught.reward, quality=float(rng.random() < chance))
        policy.learn(replace(taught, reward=reward))


def probes(policy):
    rng = np.random.default_rng(99)
    return [
        policy.gate(context(rng), EDGE, CLOUD, PRESETS["balanced"], {"margin_mean": margin})
        for margin in np.linspace(0.0, 1.0, 9).tolist()
    ] + [policy.predict(context(rng), ARMS, PRESETS["balanced"])]


@pytest.fixture
def policy():
    return ComposedPolicy(PolicyConfig("composed", SCHEMA))


def test_the_default_policy_is_a_gatekeeper(policy):
    assert gatekeeper_of(policy) is policy


def test_the_gate_names_its_verdicts_and_sums_to_one(policy):
    teach(policy, 200)
    for prediction in probes(policy)[:-1]:
        assert prediction.arms == VERDICTS
        assert sum(prediction.pmf) == pytest.approx(1.0)
        assert prediction.policy_version == policy.version


def test_asking_the_gate_changes_nothing(policy):
    teach(policy, 100)
    before = policy.snapshot()
    assert probes(policy) == probes(policy)
    assert policy.snapshot() == before


def test_both_verdicts_keep_the_floor(policy):
    teach(policy, 400)
    assert min(p for prediction in probes(policy) for p in prediction.pmf) >= policy.config.floor


def test_what_is_logged_of_the_second_stage_gives_its_pmf_back(policy):
    """Up to the unit of the gaps: with it, the pmf follows from utilities, bills and prices."""
    teach(policy, 300)
    scenario = replace(PRESETS["balanced"], cost_price=20.0)
    at = context(np.random.default_rng(5))
    prediction = policy.gate(at, EDGE, CLOUD, scenario, {"margin_mean": 0.4})
    worth = [
        e.utility - scenario.charge(e.cost_usd, latency_s=e.latency_s, quality=e.quality)
        for e in prediction.estimates
    ]
    worse = min(prediction.pmf)
    gamma = (1.0 / worse - 2.0) / abs(worth[0] - worth[1])
    assert inverse_gap_weighting(worth, gamma=gamma, floor=0.0) == pytest.approx(prediction.pmf)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_signal_that_is_not_finite_is_refused_and_nothing_is_learned(policy, bad):
    teach(policy, 50)
    before = probes(policy)
    rng = np.random.default_rng(1)
    lie = lesson(policy, context(rng), "edge", 1.0, {}, rng=rng)
    with pytest.raises(BadInteractionError):
        policy.gate(context(rng), EDGE, CLOUD, QUALITY, {"margin_mean": bad})
    with pytest.raises(BadInteractionError):
        policy.learn(replace(lie, signals={"margin_mean": bad}))
    assert probes(policy) == before


def test_no_signals_at_all_will_do(policy):
    teach(policy, 100)
    at = context(np.random.default_rng(2))
    assert sum(policy.gate(at, EDGE, CLOUD, QUALITY, {}).pmf) == pytest.approx(1.0)


def test_more_different_signals_than_there_is_room_for_are_ignored(policy):
    rng = np.random.default_rng(3)
    signals = {f"s{i}": float(i) for i in range(100)}
    policy.learn(lesson(policy, context(rng), "edge", 1.0, signals, rng=rng))
    assert np.isfinite(policy.gate(context(rng), EDGE, CLOUD, QUALITY, signals).pmf).all()


def test_a_restored_gate_continues_exactly(policy):
    teach(policy, 150)
    twin = ComposedPolicy(policy.config)
    twin.restore(policy.snapshot())
    teach(policy, 150, seed=1)
    teach(twin, 150, seed=1)
    assert probes(twin) == probes(policy)


def test_a_verdict_that_was_not_drawn_teaches_no_quality(policy):
    teach(policy, 100)
    before = probes(policy)
    rng = np.random.default_rng(4)
    forced = lesson(
        policy, context(rng), "cascade", 1.0, {"margin_mean": 0.9}, rng=rng, forced=True
    )
    only_vote = replace(forced, reward=Reward(quality=1.0))
    policy.learn(only_vote)
    qualities = [[e.quality for e in p.estimates] for p in probes(policy)]
    assert qualities == [[e.quality for e in p.estimates] for p in before]


def test_the_price_of_money_moves_the_verdict_at_once(policy):
    teach(policy, 600)
    at = context(np.random.default_rng(6))
    doubtful = {"margin_mean": 0.1}
    free = policy.gate(at, EDGE, CLOUD, QUALITY, doubtful)
    dear = policy.gate(at, EDGE, CLOUD, replace(QUALITY, cost_price=1e4), doubtful)
    assert free.propensity("escalate") > 0.5 > dear.propensity("escalate")


def test_a_cascade_costs_at_least_its_edge_and_at_most_both(policy):
    teach(policy, 300)
    rng = np.random.default_rng(7)
    for _ in range(20):
        edge, cloud, both = policy.predict(context(rng), ARMS, PRESETS["balanced"]).estimates
        assert edge.cost_usd <= both.cost_usd <= edge.cost_usd + cloud.cost_usd
        assert edge.latency_s <= both.latency_s <= edge.latency_s + cloud.latency_s


def lineup(name):
    rivals = {"other": PolicyConfig(name, SCHEMA)}
    return make_lineup(Lineup(PolicyConfig(name, SCHEMA), GuardConfig(), rivals))


def test_a_guarded_policy_with_challengers_lends_the_gate_of_the_one_that_serves(policy):
    guarded = lineup("composed")
    assert gatekeeper_of(guarded) is guarded
    teach(policy, 100)
    teach(guarded, 100)
    guarded.version = policy.version
    assert [p.pmf for p in probes(guarded)[:-1]] == [p.pmf for p in probes(policy)[:-1]]


def test_a_guard_gives_no_gate_to_a_policy_that_has_none():
    assert gatekeeper_of(lineup("direct")) is None


def test_a_vote_on_a_cascade_counts_as_one_answer_voted_on(policy):
    """It teaches both arms; of two answers one is without a vote all the same."""
    rng = np.random.default_rng(0)
    for quality in (0.5, None):
        policy.learn(
            lesson(policy, context(rng), "cascade", quality, {"margin_mean": 0.5}, rng=rng)
        )
    ahead = policy.explain(context(rng), ARMS)["cloud"]["head_start"]
    assert ahead == pytest.approx(head_start(CLOUD, 1, 0.5))
