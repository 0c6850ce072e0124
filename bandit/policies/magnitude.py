"""Positive quantities, learned on a logarithmic scale."""

import math

from bandit.policies.vw import Regressor, Slate
from bandit.primitives import FloatVector

_FREE_USD = 1e-9
"""Costs below this count as nothing when their logarithm is taken."""
_SETTLED = 30
"""Lessons after which a model has found the level: it swings past it once before."""


class Magnitude:
    """A positive quantity per arm (cost, latency), learned as the logarithm of a ratio to a prior.

    The mean of a quantity is not the exponential of its mean logarithm; a running ratio of what was
    seen to what was predicted mends that (Duan, "Smearing estimate", 1983), and begins anew once
    the model has found the level: until then it says how far off the first guesses were.
    """

    def __init__(
        self, n_features: int, *, saved: bytes | None = None, slate: Slate | None = None
    ) -> None:
        self.model = Regressor(n_features, saved=saved, slate=slate)
        self.smear: dict[str, list[float]] = {}

    def expected(self, log_ratio: float, key: str, prior: float) -> float:
        """Expected quantity, in the unit of ``prior``; ``log_ratio`` is the model's prediction."""
        seen, predicted = self.smear.get(key, (1.0, 1.0))
        return prior * math.exp(min(9.0, log_ratio)) * seen / predicted

    def learn(
        self, x: FloatVector, block: int, *, key: str, ratio: float, offset: float
    ) -> tuple[float, float]:
        """Learn from an answer; what was said of its ratio, uncorrected, and its own logarithm.

        Parameters
        ----------
        key
            Of the arm, under its digest.
        ratio
            Quantity over its prior.
        offset
            What the model's prediction is corrected by at present.
        """
        said = self.model.predict(x, block)
        if self.model.n_learned(block) == _SETTLED:
            self.start_over(key)
        sums = self.smear.setdefault(key, [1.0, 1.0])
        sums[0] = 0.99 * sums[0] + ratio
        sums[1] = 0.99 * sums[1] + math.exp(min(9.0, said + offset))
        value = max(-9.0, min(9.0, math.log(max(ratio, _FREE_USD))))
        self.model.learn(x, value - offset, block)
        return said, value

    def settled(self, block: int) -> bool:
        """Whether the last lesson of a block came when its level was known."""
        return self.model.n_learned(block) > _SETTLED

    def start_over(self, key: str) -> None:
        """Forget the ratio that mends the mean, for it mixes two worlds."""
        self.smear[key] = [1.0, 1.0]
