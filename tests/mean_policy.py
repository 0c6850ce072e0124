"""A tiny real policy, for tests of everything around policies: a running mean per arm, exact."""

import json

from bandit.errors import BadInteractionError, BadSnapshotError, NoEligibleArmError
from bandit.primitives import Estimate, Prediction

PRIOR = 0.5
FLOOR = 0.1


class MeanPolicy:
    """Mean quality per arm. ``history`` is part of the snapshot, so order counts."""

    name = "mean"
    alarms = ()

    def __init__(self):
        self.version = "mean-0"
        self.history = []

    def mean(self, arm_id):
        seen = [
            quality for arm, quality, *_ in self.history if arm == arm_id and quality is not None
        ]
        return (PRIOR + sum(seen)) / (1 + len(seen))

    def predict(self, context, arms, scenario):
        if not arms:
            raise NoEligibleArmError
        means = [self.mean(arm.arm_id) for arm in arms]
        spare = 1.0 - FLOOR * len(arms)
        pmf = tuple(FLOOR + spare * (m + 0.01) / sum(x + 0.01 for x in means) for m in means)
        estimates = tuple(Estimate(m, None, None, m) for m in means)
        return Prediction(tuple(arm.arm_id for arm in arms), pmf, self.version, estimates)

    def learn(self, interaction):
        reward, decision = interaction.reward, interaction.decision
        if decision.tags.get("poison"):
            raise BadInteractionError("tags", "poison")
        self.history.append(
            [decision.arm, reward.quality, reward.cost_usd, reward.latency_s, reward.value]
        )

    def explain(self, context, arms):
        return {arm.arm_id: {"bias[0]": self.mean(arm.arm_id)} for arm in arms}

    def snapshot(self):
        return json.dumps({"kind": self.name, "history": self.history}).encode()

    def restore(self, blob):
        try:
            self.history = json.loads(blob)["history"]
        except (ValueError, KeyError) as error:
            raise BadSnapshotError(str(error)) from error
