"""A world of a few arms whose quality somebody changes, for the default policy to live in."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.primitives import Arm, Context, Decision, Interaction, Reward
from bandit.sampling import draw
from bandit.utility import Scenario

SCHEMA = {"constant": 1, "embedding": 6}
QUALITY = Scenario("only-quality", 1.0, 0.0, 0.0)
EDGE = Arm("edge", "edge", "small", 0.1, 0.1, digest="e1")
CLOUD = Arm("cloud", "cloud", "large", 1.0, 1.0, digest="c1")
THIRD = Arm("third", "cloud", "other", 1.0, 1.0, digest="t1")
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(rng, mean=0.0):
    x = (mean + rng.standard_normal(6)).astype(np.float32)
    return Context({"constant": np.ones(1, np.float32), "embedding": x}, "test")


@dataclass
class World:
    """Runs a policy; ``means`` may be changed, and arms come and go, between runs.

    Answers score their arm's mean plus noise of standard deviation .12, clipped to [0, 1]; bills
    and waits are log-normal around what `run` is told, with .3. With ``thumbs`` votes are 0 or 1,
    with these means.
    """

    seed: int = 0
    policy: object = None
    arms: tuple = (EDGE, CLOUD)
    means: dict = field(default_factory=lambda: {"edge": 0.75, "cloud": 0.92, "third": 0.97})
    scenario: Scenario = QUALITY
    n: int = 0
    thumbs: bool = False

    def __post_init__(self):
        self.policy = self.policy or make_policy(PolicyConfig("composed", SCHEMA))
        self.rng = np.random.default_rng(self.seed)

    def run(self, rounds, *, judged=1.0, mix=0.0, cost_usd=0.001, latency_s=1.0):
        """``rounds`` decisions, learned from; the drawn arms, and the predictions."""
        drawn, seen = [], []
        for _ in range(rounds):
            context = at(self.rng, mix)
            prediction = self.policy.predict(context, self.arms, self.scenario)
            arm, p = draw(prediction, self.rng)
            decision = Decision(
                f"d{self.n}", context, self.arms, self.scenario, prediction, arm, p, "policy",
                START + timedelta(seconds=self.n),
            )  # fmt: skip
            self.n += 1
            cost, latency = np.array([cost_usd, latency_s]) * np.exp(
                0.3 * self.rng.standard_normal(2)
            )
            self.policy.learn(Interaction(decision, Reward(cost_usd=cost, latency_s=latency)))
            quality = self.means[arm] + 0.12 * self.rng.standard_normal()
            if self.rng.random() < judged:
                said = float(np.clip(quality, 0.0, 1.0))
                if self.thumbs:
                    said = float(self.rng.random() < self.means[arm])
                self.policy.learn(Interaction(decision, Reward(quality=said, value=said)))
            drawn.append(arm)
            seen.append(prediction)
        return np.array(drawn), seen

    def kinds(self):
        return [(alarm.kind, alarm.arm) for alarm in self.policy.alarms]

    def change(self, arm_id, **changes):
        """Another price or digest for an arm, from now on."""
        self.arms = tuple(replace(a, **changes) if a.arm_id == arm_id else a for a in self.arms)
