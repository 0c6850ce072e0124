"""Positive quantities, learned on a logarithmic scale."""

import math
from collections.abc import Sequence

from bandit.policies.vw import Regressor, Slate
from bandit.primitives import FloatVector

_FREE_USD = 1e-9
"""Costs below this count as nothing when their logarithm is taken."""


class Magnitude:
    """A positive quantity per arm (cost, latency), learned as the logarithm of a ratio to a prior.

    The mean of a quantity is not the exponential of its mean logarithm; a running ratio of what was
    seen to what was predicted mends that (Duan, "Smearing estimate", 1983).
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
        sums = self.smear.setdefault(key, [1.0, 1.0])
        mended = _logarithm(sums)
        sums[0] = 0.99 * sums[0] + ratio
        sums[1] = 0.99 * sums[1] + math.exp(min(9.0, said + offset))
        value = max(-9.0, min(9.0, math.log(max(ratio, _FREE_USD))))
        self.model.learn(x, value - offset, block)
        return said + mended, value

    def start_over(self, key: str) -> float:
        """Forget the ratio that mends the mean, for it mixes two worlds; returns its logarithm."""
        mended = self._mended(key)
        self.smear[key] = [1.0, 1.0]
        return mended

    def _mended(self, key: str) -> float:
        return _logarithm(self.smear.get(key, (1.0, 1.0)))


def _logarithm(sums: Sequence[float]) -> float:
    seen, predicted = sums
    return math.log(seen / predicted) if seen > 0.0 < predicted else 0.0
