"""Positive quantities, learned on a logarithmic scale."""

import math

from bandit.policies.vw import Regressor
from bandit.primitives import FloatVector

_FREE_USD = 1e-9
"""Costs below this count as nothing when their logarithm is taken."""


class Magnitude:
    """A positive quantity per arm (cost, latency), learned as the logarithm of a ratio to a prior.

    The mean of a quantity is not the exponential of its mean logarithm; a running ratio of what was
    seen to what was predicted mends that (Duan, "Smearing estimate", 1983).
    """

    def __init__(self, n_features: int, *, saved: bytes | None = None) -> None:
        self.model = Regressor(n_features, saved=saved)
        self.smear: dict[str, list[float]] = {}

    def expected(self, log_ratio: float, arm_id: str, prior: float) -> float:
        """Expected quantity, in the unit of ``prior``; ``log_ratio`` is the model's prediction."""
        seen, predicted = self.smear.get(arm_id, (1.0, 1.0))
        return prior * math.exp(min(9.0, log_ratio)) * seen / predicted

    def learn(self, x: FloatVector, block: int, arm_id: str, ratio: float) -> None:
        """Learn that the quantity was ``ratio`` times its prior."""
        plain = math.exp(min(9.0, self.model.predict(x, block)))
        sums = self.smear.setdefault(arm_id, [1.0, 1.0])
        sums[0], sums[1] = 0.99 * sums[0] + ratio, 0.99 * sums[1] + plain
        self.model.learn(x, max(-9.0, min(9.0, math.log(max(ratio, _FREE_USD)))), block)
