"""Cheap policies and worlds for what judges policies: no model is trained, rewards are drawn."""

from datetime import UTC, datetime

from bandit.alarm import Alarm
from bandit.policies.archive import read_archive, write_archive
from bandit.primitives import Arm, Context, Decision, Estimate, Interaction, Prediction, Reward
from bandit.sampling import draw
from bandit.utility import Scenario

QUALITY = Scenario("quality-only", 1.0, 0.0, 0.0)
ARMS = (Arm("edge", "edge", "small", 0.0, 0.0), Arm("cloud", "cloud", "large", 1.0, 3.0))
NOWHERE = Context({}, "none")
HERE = Context({}, "none")
"""A kind of query for which every policy turns round."""
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
FLOOR = 0.05


class Stubborn:
    """Prefers one arm whatever it learns; a test may change its mind, which is in its snapshot."""

    name = "stubborn"
    alarms: tuple[Alarm, ...] = ()

    def __init__(self, cloud=0.95, config=None):
        self.cloud = cloud
        self.version = "stubborn-0"
        self.config = config
        self.n_learned = 0

    def predict(self, context, arms, scenario):
        cloud = 1.0 - self.cloud if context is HERE else self.cloud
        shares = {"edge": 1.0 - cloud, "cloud": cloud}
        weights = [shares[arm.arm_id] for arm in arms]
        pmf = tuple(w / sum(weights) for w in weights)
        estimates = tuple(Estimate(w, 0.001 * i, 1.0, w) for i, w in enumerate(weights))
        return Prediction(tuple(arm.arm_id for arm in arms), pmf, self.version, estimates)

    def learn(self, interaction):
        self.n_learned += 1

    def explain(self, context, arms):
        return {arm.arm_id: {} for arm in arms}

    def snapshot(self):
        state = {"policy": self.name, "cloud": self.cloud, "n": self.n_learned}
        return write_archive({**state, "version": self.version}, {})

    def restore(self, blob):
        header, _ = read_archive(blob)
        self.cloud, self.n_learned = header["cloud"], header["n"]
        self.version = header["version"]


def live_through(policy, rng, n, means, *, start=0, arms=ARMS, lag=0, kinds=(NOWHERE,)):
    """``n`` queries of ``policy``; the share of each arm.

    ``means`` is arm id to mean reward, the other way round for queries of the kind `HERE`;
    ``lag``: lessons come so many queries after their decisions.
    """
    drawn, waiting = [], []
    for i in range(n):
        context = kinds[i % len(kinds)]
        prediction = policy.predict(context, arms, QUALITY)
        arm, p = draw(prediction, rng)
        other = {"edge": "cloud", "cloud": "edge"}[arm]
        reward = float(rng.random() < means[other if context is HERE else arm])
        decision = Decision(
            f"d{start + i}", context, arms, QUALITY, prediction, arm, p, "policy", WHEN
        )
        drawn.append(arm)
        waiting.append(Interaction(decision, Reward(quality=reward, value=reward)))
        if len(waiting) > lag:
            policy.learn(waiting.pop(0))
    for interaction in waiting:
        policy.learn(interaction)
    return {arm.arm_id: drawn.count(arm.arm_id) / n for arm in arms}
