"""A policy that is taught a judge's scores as people would have given them."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.errors import BadInteractionError, BadSnapshotError
from bandit.gate import gatekeeper_of
from bandit.policies.config import BadPolicyConfigError, PolicyConfig
from bandit.policies.corrected import CorrectedPolicy, correction_of
from bandit.policies.factory import make_policy, maker_of
from bandit.primitives import Gating, Interaction, Judgement, Reward
from bandit.utility import PRESETS
from tests.makers import ARMS, context, decision

SCHEMA = {"bias": 1, "text": 3}
QUALITY = replace(PRESETS["quality"], w_quality=1.0, w_cost=0.0, w_latency=0.0)


def make(name="composed", **settings):
    config = PolicyConfig(name, SCHEMA)
    return CorrectedPolicy.around(make_policy(config), config, **settings)


def drawn(policy, arm="edge", x=None):
    at = context(x=x)
    prediction = policy.predict(at, ARMS, QUALITY)
    p = prediction.propensity(arm)
    return decision(context=at, scenario=QUALITY, prediction=prediction, arm=arm, propensity=p)


def say(policy, score, *, arm="edge", verdict=None, p=0.1, **more):
    made = drawn(policy, arm)
    said = Judgement("judge:m", score, audit_probability=p, **more)
    policy.learn(Interaction(made, Reward(quality=score, value=score), judgement=said))
    if verdict is not None:
        pair = replace(said, verdict=verdict, audited=True)
        policy.learn(Interaction(made, Reward(), judgement=pair))


def expected(policy):
    return [e.utility for e in policy.predict(context(), ARMS, QUALITY).estimates]


def test_audits_that_come_after_all_scores_put_the_right_arm_first_at_once():
    policy = make()
    for _ in range(300):
        say(policy, 0.8, arm="edge")
        say(policy, 0.75, arm="cloud")
    edge, cloud = expected(policy)
    assert edge > cloud
    for _ in range(20):
        say(policy, 0.8, arm="edge", verdict=0.7)
        say(policy, 0.75, arm="cloud", verdict=0.75)
    edge, cloud = expected(policy)
    assert cloud > edge


def test_scores_at_the_edge_of_the_range_are_corrected_in_full():
    """People say 1.0 where the judge says .9 for one arm, .95 for both else: cut or not, the
    expectations differ by what people say, .05, within what 40 audits leave of the first guess."""
    policy = make()
    for _ in range(400):
        say(policy, 0.97, arm="edge", verdict=1.0, p=1.0)
        say(policy, 0.97, arm="cloud", verdict=0.95, p=1.0)
    edge, cloud = expected(policy)
    assert edge - cloud == pytest.approx(0.05, abs=0.01)


def test_a_pair_teaches_the_policy_inside_nothing_of_its_own():
    policy = make()
    say(policy, 0.8)
    before = policy.inner.snapshot()
    made = drawn(policy)
    pair = Judgement("judge:m", 0.8, 0.2, audited=True, audit_probability=0.5)
    policy.learn(Interaction(made, Reward(), judgement=pair))
    assert policy.inner.snapshot() == before
    assert policy.tallies.of("judge:m", "edge").n_audits == 1


def test_a_probe_teaches_the_arm_that_was_not_drawn():
    policy = make()
    say(policy, 0.5, arm="edge", probe_arm="cloud", probe_score=0.9, probe_rate=0.05)
    assert policy.tallies.of("judge:m", "cloud").n == 1
    for _ in range(100):
        say(policy, 0.5, arm="edge", probe_arm="cloud", probe_score=0.9, probe_rate=0.05)
    edge, cloud = expected(policy)
    assert cloud > edge + 0.2


@pytest.mark.parametrize("name", ["composed", "direct"])
def test_a_restored_policy_continues_exactly(name):
    policy = make(name, voters=True)
    rng = np.random.default_rng(0)

    def teach(learner, seed):
        rng = np.random.default_rng(seed)
        for _ in range(40):
            arm = ("edge", "cloud")[rng.integers(2)]
            verdict = float(rng.random()) if rng.random() < 0.5 else None
            say(learner, float(rng.random()), arm=arm, verdict=verdict)
            made = drawn(learner, arm, x=rng.standard_normal(3))
            learner.learn(Interaction(made, Reward(cost_usd=0.1, latency_s=1.0)))
            learner.learn(
                Interaction(made, Reward(quality=0.4, value=0.4), judgement=Judgement(verdict=0.4))
            )

    teach(policy, 1)
    twin = make(name, voters=True)
    twin.restore(policy.snapshot())
    assert twin.version == policy.version
    teach(policy, 2)
    teach(twin, 2)
    at = context(x=rng.standard_normal(3))
    assert twin.predict(at, ARMS, QUALITY) == policy.predict(at, ARMS, QUALITY)
    assert twin.tallies.state() == policy.tallies.state()
    assert twin.plan.state() == policy.plan.state()
    assert twin.voters.state() == policy.voters.state()


def test_every_damaged_snapshot_is_refused_and_the_policy_stays():
    policy = make()
    for _ in range(20):
        say(policy, 0.8, verdict=0.6)
    blob, before = policy.snapshot(), expected(policy)
    rng = np.random.default_rng(4)
    for _ in range(100):
        damaged = bytearray(blob)
        damaged[int(rng.integers(len(blob)))] ^= 1 << int(rng.integers(8))
        with pytest.raises(BadSnapshotError):
            policy.restore(bytes(damaged))
    assert expected(policy) == before


def test_a_snapshot_of_the_bare_policy_is_refused():
    with pytest.raises(BadSnapshotError, match="composed"):
        make().restore(make_policy(PolicyConfig("composed", SCHEMA)).snapshot())


@pytest.mark.parametrize(
    "wrong",
    [{"score": 1.2}, {"verdict": float("nan")}, {"audit_probability": 0.0}, {"probe_rate": 0.0}],
    ids=str,
)
def test_a_judgement_out_of_range_is_refused_and_nothing_is_learned(wrong):
    policy = make()
    say(policy, 0.8)
    before = policy.snapshot()
    said = replace(Judgement("judge:m", 0.8, 0.5, audited=True, audit_probability=0.5), **wrong)
    with pytest.raises(BadInteractionError, match=next(iter(wrong))):
        policy.learn(Interaction(drawn(policy), Reward(), judgement=said))
    assert policy.snapshot() == before


def test_a_predicting_policy_draws_nothing_and_changes_nothing():
    policy = make()
    for _ in range(10):
        say(policy, 0.8, verdict=0.6)
    before = policy.snapshot()
    expected(policy)
    assert policy.snapshot() == before


def test_the_correction_is_found_below_other_wrappers():
    class Wrapper:
        def __init__(self, inner):
            self.inner = inner

    policy = make()
    assert correction_of(Wrapper(Wrapper(policy))) is policy
    assert correction_of(Wrapper(policy.inner)) is None


def test_who_votes_rarely_weighs_more_up_to_the_limit():
    policy = make(voters=True, most_weight=3.0)
    loud, quiet = [2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]
    for i in range(3000):
        x = loud if i % 2 else quiet
        made = drawn(policy, x=x)
        policy.learn(Interaction(made, Reward(cost_usd=0.1, latency_s=1.0)))
        if (i // 2) % (2 if x is loud else 20) == 0:
            said = Judgement(verdict=0.5)
            policy.learn(Interaction(made, Reward(quality=0.5, value=0.5), judgement=said))

    def weight(x):
        flat = np.array([1.0, *x], np.float32)
        return policy.voters.weight(flat, "edge", most=3.0)

    assert weight(loud) < 1.0
    assert 2.0 < weight(quiet) <= 3.0


def test_a_limit_of_weights_below_one_is_refused():
    with pytest.raises(BadPolicyConfigError, match="most_weight"):
        make(most_weight=0.5)


def test_it_has_a_gate_where_the_policy_inside_has_one():
    assert gatekeeper_of(make("composed"))
    assert gatekeeper_of(make("direct")) is None
    policy = make()
    for _ in range(100):
        say(policy, 0.8, arm="edge")
        say(policy, 0.8, arm="cloud")
    before = policy.gate(context(), *ARMS, QUALITY, {})
    for _ in range(50):
        say(policy, 0.8, arm="edge", verdict=0.4)
        say(policy, 0.8, arm="cloud", verdict=0.9)
    assert policy.gate(context(), *ARMS, QUALITY, {}).pmf[1] > before.pmf[1]


def test_a_cascades_score_counts_for_the_model_whose_answer_was_delivered():
    policy = make()
    made = drawn(policy)
    prediction = policy.gate(context(), *ARMS, QUALITY, {})
    gate = Gating("edge", "cloud", {}, prediction, "escalate", prediction.pmf[1])
    said = Judgement("judge:m", 0.9)
    policy.learn(Interaction(made, Reward(quality=0.9), judgement=said, gating=gate))
    assert list(policy.tallies.by_judge["judge:m"]) == ["cloud"]


def test_a_snapshot_says_what_can_be_restored_from_it():
    policy = make(voters=True)
    say(policy, 0.5)
    twin = maker_of(policy.snapshot())()
    twin.restore(policy.snapshot())
    assert (twin.config, twin.name) == (policy.config, policy.name)
