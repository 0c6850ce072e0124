"""Mask, predict, draw."""

from collections import Counter
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from bandit.primitives import Arm, Context
from bandit.utility import PRESETS
from serving.deciding import Decider, Situation
from serving.eligibility import Needs
from serving.errors import BadRequestError
from serving.selector import Selection
from tests.scripted import NOW, FixedPolicy, Holder

EDGE = Arm("edge", "edge", "small", capabilities=frozenset({"n"}))
CLOUD = Arm("cloud", "cloud", "large", capabilities=frozenset({"*"}))
SEEN = Context({"bias": np.ones(1, np.float32)}, "plain-1")
UNSEEN = Context({"bias": np.zeros(1, np.float32)}, "plain-1", features_ok=False)
TOOLS = Needs(frozenset({"tools"}))


def decide(
    policy, *, context=SEEN, needs=None, only=None, troubles=None, arms=(EDGE, CLOUD), seed=0
):
    ids = (str(n) for n in count())
    decider = Decider(
        Holder(policy), np.random.default_rng(seed), new_id=lambda: next(ids), now=lambda: NOW
    )
    return decider.decide(
        context,
        Situation(arms, troubles or {}),
        needs=needs or Needs(),
        selection=Selection(PRESETS["balanced"], only),
        tags={},
    )


def test_the_likeliest_arm_is_a_policy_decision_and_any_other_explores():
    made = [decide(FixedPolicy(edge=0.8, cloud=0.2), seed=seed) for seed in range(50)]
    assert Counter((d.arm, d.reason, d.propensity) for d in made).keys() == {
        ("edge", "policy", 0.8),
        ("cloud", "explore", 0.2),
    }


def test_the_same_seed_draws_the_same_arm():
    policy = FixedPolicy()
    assert [decide(policy, seed=7).arm for _ in range(5)] == [decide(policy, seed=7).arm] * 5


def test_the_only_eligible_arm_is_drawn_with_certainty():
    made = decide(FixedPolicy(edge=0.9, cloud=0.1), needs=TOOLS)
    assert (made.arm, made.propensity, made.reason) == ("cloud", 1.0, "mask")
    assert made.masked == {"edge": "capability:tools"}


def test_a_pin_is_forced_and_keeps_the_policys_pmf():
    made = decide(FixedPolicy(edge=0.9, cloud=0.1), only=frozenset({"cloud"}))
    assert (made.arm, made.propensity, made.reason, made.forced) == ("cloud", 1.0, "pin", True)
    assert made.prediction.pmf == (0.9, 0.1)


def test_a_pin_stands_whatever_the_arms_state():
    made = decide(FixedPolicy(), only=frozenset({"edge"}), troubles={"edge": "unhealthy"})
    assert made.arm == "edge"


def test_a_pin_to_an_arm_that_cannot_do_it_is_refused():
    with pytest.raises(BadRequestError, match="capability:tools"):
        decide(FixedPolicy(), only=frozenset({"edge"}), needs=TOOLS)


def test_without_features_the_baseline_arm_serves_and_nothing_is_learned():
    made = decide(FixedPolicy(edge=1.0, cloud=0.0), context=UNSEEN)
    assert (made.arm, made.propensity, made.reason, made.forced) == ("cloud", 1.0, "baseline", True)


@pytest.mark.parametrize("error", [ValueError("nan"), RuntimeError("vw"), KeyError("x")])
def test_a_policy_that_fails_leaves_the_baseline_arm(error):
    made = decide(FixedPolicy(error=error))
    assert (made.arm, made.reason, made.prediction.policy_version) == (
        "cloud",
        "baseline",
        "baseline",
    )


def test_without_a_cloud_arm_the_first_one_is_the_baseline():
    assert decide(FixedPolicy(), context=UNSEEN, arms=(EDGE,)).arm == "edge"


def test_a_bypass_is_noted():
    troubles = {"edge": "unhealthy", "cloud": "breaker_open"}
    assert decide(FixedPolicy(), troubles=troubles).tags == {"bypassed": True}


def test_a_pin_stands_however_long_its_queue():
    busy = replace(EDGE, features={"queue_s": 9.0})
    made = decide(
        FixedPolicy(),
        needs=Needs(max_wait_s=1.0),
        only=frozenset({"edge"}),
        arms=(busy, CLOUD),
    )
    assert (made.arm, made.reason, made.masked) == ("edge", "pin", {})
