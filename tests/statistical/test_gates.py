"""Seeded learning tests of cascades: each threshold is derived in the test's docstring."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.primitives import Arm, Context, Decision, Gating, Interaction, Reward
from bandit.sampling import draw
from bandit.utility import Scenario

pytestmark = pytest.mark.statistical

SCHEMA = {"constant": 1, "embedding": 2}
EDGE = Arm("edge", "edge", "small", 0.0, 0.0, digest="small:1")
CLOUD = Arm("cloud", "cloud", "large", 2.0, 8.0)
BOTH = Arm("cascade", "cascade", "small+large", parts=("edge", "cloud"))
ARMS = (EDGE, CLOUD, BOTH)
PRICED = Scenario("quality-only", 1.0, 0.0, 0.0, cost_price=75.0)
BILL = 0.004
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def run(seed, *, rounds=1600):
    """A world of noise: the query says nothing, the margin all. Edge answers are right with the
    margin's probability, uniform in [0, 1], so with .5; the cloud's with .8 at a price of .3.

    Returns
    -------
    The policy, what each round was worth (quality less the price of its bill), and verdicts with
    their probabilities.
    """
    policy = ComposedPolicy(PolicyConfig("composed", SCHEMA))
    rng = np.random.default_rng(seed)
    worth, verdicts = [], []
    for _ in range(rounds):
        x = rng.standard_normal(2).astype(np.float32)
        at = Context({"constant": np.ones(1, np.float32), "embedding": x}, "test")
        margin = float(rng.random())
        signals = {"margin_mean": margin}
        prediction = policy.predict(at, ARMS, PRICED)
        decision = Decision("d", at, ARMS, PRICED, prediction, "cascade", 1.0, "policy", NOW)
        judged = policy.gate(at, EDGE, CLOUD, PRICED, signals)
        verdict, p = draw(judged, rng)
        gating = Gating(
            "edge", "cloud", signals, judged, verdict, p, edge_cost_usd=0.0, edge_latency_s=1.0
        )
        asked = verdict == "escalate"
        quality = float(rng.random() < (0.8 if asked else margin))
        cost = BILL if asked else 0.0
        lesson = Interaction(decision, Reward(None, cost, 1.0), signals=signals, gating=gating)
        policy.learn(lesson)
        policy.learn(replace(lesson, reward=Reward(quality=quality)))
        worth.append(quality - PRICED.cost_price * cost)
        verdicts.append((verdict, p))
    return policy, np.array(worth), verdicts


def test_the_gate_beats_accepting_always_and_escalating_always():
    """Both fixed choices are worth .5 (.8 less .3). Escalating below a margin of .5 is worth
    E[max(m, .5)] = .625. Over the last 1,000 rounds of 3 seeds the standard error of a mean is
    .5 / sqrt(3000) = .009; .56 is over six of those above .5 and half of the way."""
    means = [run(seed)[1][-1000:].mean() for seed in range(3)]
    assert np.mean(means) > 0.56


def test_the_logged_probabilities_are_those_that_verdicts_were_drawn_with():
    """Sum of 1[escalate] - P(escalate) over n rounds has a standard deviation below
    sqrt(n / 4) = 20 for 1,600; four of those."""
    _, _, verdicts = run(0)
    escalated = np.array([verdict == "escalate" for verdict, _ in verdicts])
    p = np.array([p if verdict == "escalate" else 1.0 - p for verdict, p in verdicts])
    assert abs(float((escalated - p).sum())) < 80.0


def test_what_accepted_answers_teach_of_the_edge_is_not_flattered():
    """Accepted answers are right about three times in four, for bad ones are escalated; the edge
    is right once in two. Nothing but cascades is ever seen. Taken at face value, estimates would
    come to .7 and more; .6 is nearer the truth than that. The cloud's true .8 is met likewise."""
    edges, clouds = [], []
    for seed in range(3):
        policy, _, _ = run(seed)
        at = Context(
            {"constant": np.ones(1, np.float32), "embedding": np.zeros(2, np.float32)}, "test"
        )
        edge, cloud, _ = policy.predict(at, ARMS, PRICED).estimates
        edges.append(edge.quality)
        clouds.append(cloud.quality)
    assert np.mean(edges) == pytest.approx(0.5, abs=0.1)
    assert np.mean(clouds) == pytest.approx(0.8, abs=0.1)
