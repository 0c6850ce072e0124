"""A guarded policy is held back when it is surely worse, and comes back when it is not."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.errors import BadSnapshotError
from bandit.policies.config import BadPolicyConfigError
from bandit.policies.doubt import WARM
from bandit.policies.evidence import worth
from bandit.policies.guarded import GuardConfig, GuardedPolicy
from bandit.primitives import Decision, Interaction, Reward
from bandit.utility import Scenario
from tests.leagues import ARMS, FLOOR, HERE, NOWHERE, QUALITY, WHEN, Stubborn, live_through

EAGER = GuardConfig(trial=50)
CLOUD_GOOD = {"edge": 0.4, "cloud": 0.9}
CLOUD_BAD = {"edge": 0.7, "cloud": 0.2}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def guarded():
    return GuardedPolicy(Stubborn, EAGER, floor=FLOOR)


def cloud_share(policy):
    return policy.predict(NOWHERE, ARMS, QUALITY).propensity("cloud")


def test_a_policy_that_does_well_is_left_alone(guarded, rng):
    live_through(guarded, rng, 3000, CLOUD_GOOD)
    assert guarded.fault is None
    assert guarded.alarms == ()
    assert cloud_share(guarded) == pytest.approx(0.95)


def test_a_policy_that_one_arm_beats_gives_way_to_it_and_says_so(guarded, rng):
    live_through(guarded, rng, 3000, CLOUD_BAD)
    assert guarded.fault == "arm:edge"
    (alarm,) = guarded.alarms
    assert (alarm.kind, alarm.arm) == ("guard", "edge")
    assert alarm.alarm_id == f"{alarm.decision_id}:guard:edge"
    assert alarm.before > alarm.after
    assert "always 'edge' would have earned" in alarm.action
    assert cloud_share(guarded) == pytest.approx(0.2 * 0.95 + 0.8 * FLOOR)


def test_a_fault_after_long_success_is_noticed_as_soon_as_one_at_once(guarded, rng):
    live_through(guarded, rng, 6000, CLOUD_GOOD)
    live_through(guarded, rng, 1500, CLOUD_BAD, start=6000)
    assert guarded.fault == "arm:edge"
    assert guarded.alarms[0].n_interactions < 7500


def test_traffic_comes_back_once_the_policy_is_surely_not_worse(guarded, rng):
    live_through(guarded, rng, 2000, CLOUD_BAD)
    live_through(guarded, rng, 2000, CLOUD_GOOD, start=2000)
    assert guarded.fault is None
    gone, back = guarded.alarms
    assert "has its traffic back" in back.action
    assert back.after > back.before
    assert cloud_share(guarded) == pytest.approx(0.95)
    assert gone.alarm_id != back.alarm_id


def test_a_policy_that_turns_bad_gives_way_to_its_champion_and_learns_its_way_back(rng):
    guarded = GuardedPolicy(lambda: Stubborn(0.9), EAGER, floor=FLOOR)
    world = {"means": {"edge": 0.2, "cloud": 0.9}, "kinds": (NOWHERE, HERE)}
    live_through(guarded, rng, 200, **world)
    guarded.inner.cloud = 0.1
    live_through(guarded, rng, 1000, start=200, **world)
    assert guarded.fault == "champion"
    assert guarded.alarms[0].arm is None
    assert "its last good copy would have earned" in guarded.alarms[0].action
    guarded.inner.cloud = 0.9
    live_through(guarded, rng, 2000, start=1200, **world)
    assert guarded.fault is None


def test_the_champion_serves_with_its_own_pmf_and_the_policy_keeps_a_share(rng):
    guarded = GuardedPolicy(lambda: Stubborn(0.3), EAGER, floor=FLOOR)
    live_through(guarded, rng, 60, CLOUD_GOOD)
    guarded.inner.cloud = 0.95
    guarded._fault = "champion"
    assert cloud_share(guarded) == pytest.approx(0.8 * 0.3 + 0.2 * 0.95)


def test_the_champion_is_renewed_once_the_policy_is_surely_not_worse(guarded, rng):
    live_through(guarded, rng, 60, CLOUD_GOOD)
    first = guarded._champion_blob
    guarded.inner.cloud = 0.9
    live_through(guarded, rng, 3000, {"edge": 0.8, "cloud": 0.8}, start=60)
    assert guarded.fault is None
    assert guarded._champion_blob != first


def test_late_lessons_from_before_the_return_do_not_take_traffic_away_again(guarded, rng):
    live_through(guarded, rng, 2500, CLOUD_BAD, lag=300)
    live_through(guarded, rng, 6000, CLOUD_GOOD, start=2500, lag=300)
    assert guarded.fault is None
    assert len(guarded.alarms) == 2


def test_an_arm_that_cannot_be_chosen_leaves_the_policy_its_own_pmf(guarded):
    guarded._fault = "arm:edge"
    assert guarded.predict(NOWHERE, ARMS[1:], QUALITY).pmf == (1.0,)


def test_the_floor_holds_while_held_back(guarded):
    for fault in ("arm:edge", "arm:cloud"):
        guarded._fault = fault
        assert min(guarded.predict(NOWHERE, ARMS, QUALITY).pmf) >= FLOOR - 1e-12


def test_held_back_or_not_the_policy_goes_on_learning(guarded, rng):
    live_through(guarded, rng, 1000, CLOUD_BAD)
    assert guarded.inner.n_learned == guarded.n_interactions == 1000


def test_alarms_come_again_with_the_same_ids_when_the_log_is_replayed():
    runs = []
    for _ in range(2):
        guarded = GuardedPolicy(Stubborn, EAGER, floor=FLOOR)
        live_through(guarded, np.random.default_rng(3), 2500, CLOUD_BAD)
        runs.append(guarded.alarms)
    assert runs[0] == runs[1]
    assert runs[0]


def test_a_restored_guard_holds_back_and_gives_back_at_the_same_query(guarded, rng):
    live_through(guarded, rng, 2500, CLOUD_BAD)
    twin = GuardedPolicy(Stubborn, EAGER, floor=FLOOR)
    twin.restore(guarded.snapshot())
    assert twin.fault == guarded.fault == "arm:edge"
    for policy in (guarded, twin):
        live_through(policy, np.random.default_rng(1), 2000, CLOUD_GOOD, start=2500)
    assert twin.alarms == guarded.alarms
    assert len(twin.alarms) == 2


def test_a_policy_saved_without_a_guard_is_guarded_from_then_on(rng):
    alone = Stubborn(0.7)
    live_through(alone, rng, 10, CLOUD_GOOD)
    guarded = GuardedPolicy(Stubborn, EAGER, floor=FLOOR)
    guarded.restore(alone.snapshot())
    assert cloud_share(guarded) == pytest.approx(0.7)
    assert guarded.fault is None


def test_a_guard_with_other_settings_keeps_the_policy_and_begins_anew(guarded, rng):
    live_through(guarded, rng, 1500, CLOUD_BAD)
    other = GuardedPolicy(Stubborn, GuardConfig(trial=60), floor=FLOOR)
    other.restore(guarded.snapshot())
    assert other.fault is None
    assert other.alarms == guarded.alarms
    assert other.n_interactions == 1500


def test_a_guard_of_another_policy_is_refused(guarded):
    class Other(Stubborn):
        name = "other"

    with pytest.raises(BadSnapshotError, match="stubborn"):
        GuardedPolicy(Other, EAGER).restore(guarded.snapshot())


@pytest.mark.parametrize("how", ["warm", "forced", "recomputed", "silent"])
def test_only_rewards_of_real_draws_count(guarded, how):
    prediction = guarded.predict(NOWHERE, ARMS, QUALITY)
    if how == "warm":
        prediction = replace(prediction, policy_version=WARM)
    reason, p = ("pin", 1.0) if how == "forced" else ("policy", 0.05)
    p = 0.5 if how == "recomputed" else p
    decision = Decision("d", NOWHERE, ARMS, QUALITY, prediction, "edge", p, reason, WHEN)
    reward = Reward(quality=1.0, value=None if how == "silent" else 1.0)
    guarded.learn(Interaction(decision, reward))
    assert guarded._n_rewards == 0
    assert guarded.n_interactions == 1


def test_under_a_budget_a_dear_arm_is_worth_its_reward_less_its_price(guarded):
    paced = Scenario("paced", 1.0, 0.0, 0.0, cost_price=300.0)
    prediction = guarded.predict(NOWHERE, ARMS, paced)
    decision = Decision("d", NOWHERE, ARMS, paced, prediction, "cloud", 0.95, "policy", WHEN)
    assert worth(Interaction(decision, Reward(value=0.9))) == pytest.approx(0.6)


def test_under_an_objective_a_late_arm_is_worth_its_reward_less_its_price(guarded):
    """Else the guard would go back to the arm that an objective keeps traffic from."""
    slo = Scenario("slo", 1.0, 0.0, 0.0, latency_price=0.5, latency_slo_s=4.0, quality_price=1.0)
    prediction = guarded.predict(NOWHERE, ARMS, slo)
    slow = tuple(replace(e, latency_s=4.0, quality=0.8) for e in prediction.estimates)
    prediction = replace(prediction, estimates=slow)
    decision = Decision("d", NOWHERE, ARMS, slo, prediction, "cloud", 0.95, "policy", WHEN)
    left = worth(Interaction(decision, Reward(value=0.9)))
    assert left == pytest.approx(0.9 - 0.5 * 0.5 - 1.0 * 0.2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trial": 0},
        {"margin": -0.1},
        {"margin": float("nan")},
        {"run_length": 1.0},
        {"proof_length": float("inf")},
        {"retrial": 0.0},
        {"retrial": 1.0},
    ],
    ids=str,
)
def test_a_guard_out_of_range_is_refused(wrong):
    with pytest.raises(BadPolicyConfigError, match=next(iter(wrong))):
        GuardConfig(**wrong)
