"""What every policy must do, run over each of them."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bandit.errors import BadInteractionError, BadSnapshotError, NoEligibleArmError
from bandit.policies.baselines import MixPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.doubt import WARM
from bandit.policies.factory import Lineup, make_lineup, make_policy, maker_of
from bandit.policies.guarded import GuardConfig
from bandit.policies.league import LeagueConfig
from bandit.policies.linear import LinearPolicy
from bandit.primitives import Arm, Context, Decision, Interaction, Reward
from bandit.utility import PRESETS
from serving.snapshots import Canary, load_snapshot, make_snapshot

SCHEMA = {"constant": 1, "embedding": 8, "cluster": 4, "text": 3}
EDGE = Arm("edge", "edge", "small", 0.0, 0.0)
CLOUD = Arm("cloud", "cloud", "large", 2.0, 8.0)
THIRD = Arm("third", "cloud", "medium", 0.5, 1.5)
SCENARIO = PRESETS["balanced"]
FLOOR = 0.02

GUARD = GuardConfig(trial=20)
CHALLENGERS = {"bold": PolicyConfig("composed", SCHEMA, gamma=5.0, floor=FLOOR)}
LEAGUE = LeagueConfig(trial=20)


def composed_with(schema=SCHEMA, **lineup):
    return make_lineup(Lineup(PolicyConfig("composed", schema, floor=FLOOR), **lineup))


MAKERS = {
    "composed": composed_with,
    "composed-nodrift": lambda schema=SCHEMA: make_policy(
        PolicyConfig("composed", schema, floor=FLOOR, drift=False)
    ),
    "direct": lambda schema=SCHEMA: make_policy(PolicyConfig("direct", schema, floor=FLOOR)),
    "guarded": lambda **given: composed_with(guard=GUARD, **given),
    "league": lambda **given: composed_with(challengers=CHALLENGERS, league=LEAGUE, **given),
    "guarded league": lambda **given: composed_with(
        guard=GUARD, challengers=CHALLENGERS, league=LEAGUE, **given
    ),
    "linear": LinearPolicy,
    "mix": MixPolicy,
}
LEARNING = ["composed", "composed-nodrift", "direct", "guarded", "league", "guarded league"]


def context(rng):
    vectors = {name: rng.standard_normal(n).astype(np.float32) for name, n in SCHEMA.items()}
    return Context(vectors | {"constant": np.ones(1, np.float32)}, "test")


def interaction(policy, at, arms, arm, *, version=None, **reward):
    prediction = policy.predict(at, arms, SCENARIO)
    if version:
        prediction = replace(prediction, policy_version=version)
    p = prediction.propensity(arm)
    decision = Decision(
        "dec", at, arms, SCENARIO, prediction, arm, p, "policy", datetime(2026, 1, 1, tzinfo=UTC)
    )
    return Interaction(decision, Reward(**reward))


def teach(policy, n, *, seed=0, arms=(EDGE, CLOUD), version=None, wrong=False):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        at = context(rng)
        arm = arms[rng.integers(len(arms))].arm_id
        good = ((at.namespaces["embedding"][0] > 0) == (arm == "cloud")) != wrong
        cost, latency = (0.004, 1.0) if arm == "cloud" else (0.0, 2.0)
        quality = 0.9 if good else 0.2
        value = SCENARIO.reward(quality=quality, cost_usd=cost, latency_s=latency)
        policy.learn(interaction(policy, at, arms, arm, cost_usd=cost, latency_s=latency))
        said = {"quality": quality, "value": value}
        policy.learn(interaction(policy, at, arms, arm, version=version, **said))


def probes(policy):
    """Predictions at fixed contexts. VW's own files count calls, so bytes cannot be compared."""
    rng = np.random.default_rng(99)
    return [policy.predict(context(rng), (EDGE, CLOUD, THIRD), SCENARIO) for _ in range(20)]


@pytest.fixture(params=MAKERS, ids=str)
def policy(request):
    return MAKERS[request.param]()


@pytest.fixture(params=LEARNING, ids=str)
def make(request):
    return MAKERS[request.param]


@pytest.fixture
def learner(make):
    return make()


@pytest.mark.parametrize("arms", [(EDGE,), (EDGE, CLOUD), (CLOUD, THIRD, EDGE)], ids=len)
def test_the_pmf_is_a_pmf_over_the_arms_in_their_order(policy, arms):
    teach(policy, 50)
    prediction = policy.predict(context(np.random.default_rng(9)), arms, SCENARIO)
    assert prediction.arms == tuple(arm.arm_id for arm in arms)
    assert sum(prediction.pmf) == pytest.approx(1.0, abs=1e-9)
    assert all(0.0 <= p <= 1.0 for p in prediction.pmf)


def test_no_arm_is_a_clear_error(policy):
    with pytest.raises(NoEligibleArmError):
        policy.predict(context(np.random.default_rng(0)), (), SCENARIO)


def test_predicting_changes_nothing(policy):
    teach(policy, 30)
    at = context(np.random.default_rng(5))
    first = policy.predict(at, (EDGE, CLOUD, THIRD), SCENARIO)
    for _ in range(100):
        policy.predict(context(np.random.default_rng(6)), (THIRD, EDGE), SCENARIO)
    assert policy.predict(at, (EDGE, CLOUD, THIRD), SCENARIO) == first


@pytest.mark.parametrize(
    "reward",
    [
        {"quality": float("nan")},
        {"quality": float("inf")},
        {"quality": -0.1},
        {"quality": 1.1},
        {"cost_usd": float("inf")},
        {"cost_usd": -1.0},
        {"latency_s": float("nan")},
        {"quality": 0.5, "value": float("-inf")},
    ],
    ids=str,
)
def test_a_number_out_of_range_is_refused_and_nothing_is_learned(learner, reward):
    teach(learner, 30)
    lesson = interaction(
        learner, context(np.random.default_rng(1)), (EDGE, CLOUD), "edge", **reward
    )
    before = probes(learner)
    with pytest.raises(BadInteractionError):
        learner.learn(lesson)
    assert probes(learner) == before


@pytest.mark.parametrize("poison", [np.inf, np.nan, 1e15])
def test_a_context_that_would_ruin_a_model_is_refused(learner, poison):
    at = context(np.random.default_rng(1))
    lesson = interaction(learner, at, (EDGE, CLOUD), "edge", quality=1.0, value=0.5)
    at.namespaces["embedding"][3] = poison
    before = probes(learner)
    with pytest.raises(BadInteractionError):
        learner.learn(lesson)
    assert probes(learner) == before


def test_vanishing_features_do_not_make_weights_nan(learner):
    rng = np.random.default_rng(2)
    for _ in range(20):
        at = context(rng)
        at.namespaces["embedding"][:4] = 1e-32
        learner.learn(interaction(learner, at, (EDGE, CLOUD), "edge", quality=0.3, value=0.3))
    pmf = learner.predict(context(rng), (EDGE, CLOUD), SCENARIO).pmf
    assert np.isfinite(pmf).all()


def test_a_restored_policy_continues_exactly(learner, make):
    teach(learner, 100)
    twin = make()
    twin.restore(learner.snapshot())
    teach(learner, 100, seed=1)
    teach(twin, 100, seed=1)
    assert probes(twin) == probes(learner)
    assert twin.n_interactions == learner.n_interactions


def test_a_snapshot_says_what_can_be_restored_from_it(learner):
    teach(learner, 100)
    blob = learner.snapshot()
    twin = maker_of(blob)()
    twin.restore(blob)
    assert probes(twin) == probes(learner)


def test_a_published_policy_passes_its_own_proofs(learner, make):
    teach(learner, 60)
    canary = Canary(context(np.random.default_rng(1)), (EDGE, CLOUD), SCENARIO)
    saved = make_snapshot(learner, version="v-1", position=7, canaries=(canary,))
    assert probes(load_snapshot(saved, make, floor=FLOOR)) == probes(learner)


def test_a_policy_saved_alone_serves_at_once_inside_a_guard_and_a_league():
    alone = MAKERS["composed"]()
    teach(alone, 60)
    saved = make_snapshot(alone, version="v-1", position=7)
    assert probes(load_snapshot(saved, MAKERS["guarded league"])) == probes(alone)


def test_a_restored_policy_doubts_what_it_was_taught_as_much_as_the_first():
    policy = MAKERS["composed"]()
    teach(policy, 60, version=WARM)
    teach(policy, 10)
    twin = MAKERS["composed"]()
    twin.restore(policy.snapshot())
    teach(policy, 60, seed=1, wrong=True)
    teach(twin, 60, seed=1, wrong=True)
    assert probes(twin) == probes(policy)


def test_every_damaged_snapshot_is_refused_and_the_policy_stays(learner):
    teach(learner, 50)
    blob = learner.snapshot()
    at = context(np.random.default_rng(3))
    before = learner.predict(at, (EDGE, CLOUD), SCENARIO)
    rng = np.random.default_rng(4)
    for i in range(300):
        damaged = bytearray(blob)
        if i % 2:
            del damaged[int(rng.integers(len(blob))) :]
        else:
            damaged[int(rng.integers(len(blob)))] ^= 1 << int(rng.integers(8))
        with pytest.raises(BadSnapshotError):
            learner.restore(bytes(damaged))
    assert learner.predict(at, (EDGE, CLOUD), SCENARIO) == before


def test_a_snapshot_of_another_layout_is_refused(learner, make):
    other = make(schema={"constant": 1, "embedding": 9})
    with pytest.raises(BadSnapshotError, match="layout"):
        learner.restore(other.snapshot())


def test_a_snapshot_of_the_other_policy_is_refused():
    composed, direct = MAKERS["composed"](), MAKERS["direct"]()
    with pytest.raises(BadSnapshotError, match="'direct'"):
        composed.restore(direct.snapshot())


def test_every_eligible_arm_keeps_the_floor(learner):
    teach(learner, 400, arms=(EDGE, CLOUD, THIRD))
    rng = np.random.default_rng(8)
    pmfs = [learner.predict(context(rng), (EDGE, CLOUD, THIRD), SCENARIO).pmf for _ in range(200)]
    assert np.min(pmfs) >= FLOOR - 1e-12


def test_an_arm_that_was_never_seen_can_be_chosen_at_once(learner):
    teach(learner, 200)
    pmf = learner.predict(context(np.random.default_rng(1)), (EDGE, CLOUD, THIRD), SCENARIO).pmf
    assert pmf[2] >= FLOOR


def test_the_order_of_the_arms_does_not_matter(learner):
    teach(learner, 200, arms=(EDGE, CLOUD, THIRD))
    at = context(np.random.default_rng(6))
    one = learner.predict(at, (EDGE, CLOUD, THIRD), SCENARIO)
    other = learner.predict(at, (THIRD, EDGE, CLOUD), SCENARIO)
    for arm in one.arms:
        assert one.propensity(arm) == pytest.approx(other.propensity(arm), abs=1e-6)


def test_an_explanation_names_every_feature_of_every_arm(learner):
    teach(learner, 100)
    shares = learner.explain(context(np.random.default_rng(1)), (EDGE, CLOUD))
    assert set(shares) == {"edge", "cloud"}
    assert sum("[" in name for name in shares["edge"]) == sum(SCHEMA.values())
    assert "embedding[0]" in shares["edge"]
    top = max(shares["cloud"], key=lambda name: abs(shares["cloud"][name]))
    assert np.isfinite(list(shares["cloud"].values())).all(), top
