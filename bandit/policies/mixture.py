"""The mix of queries: its mean, and whether that has moved."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.drift import Detector, DetectorConfig
from bandit.primitives import FloatVector

_BATCH = 50
"""Queries whose mean is compared with the mean before them."""
_MEMORY = 20.0
"""Batches that the mean, and its spread from batch to batch, rest on at most."""
_KNOWN = 6.0
"""Batches after which their usual distance is known."""
_FAR = 1.0
"""Logarithm of a squared distance, in usual ones, that is far."""
_SETTINGS = DetectorConfig(tolerance=0.5, threshold=6.0, least=8, noise=0.5)


class Mixture:
    """Watches the distance of what is asked now to what was asked before.

    Every batch of queries has a mean; its distance to the running mean, in units of how far such
    means usually lie apart, is one value of a stream, on a logarithmic scale.

    Parameters
    ----------
    places
        Which features count, shape (m,); the others only have their mean kept.
    n_features
        Length of the contexts.
    saved
        What `state` gave, to continue from.

    Attributes
    ----------
    mean
        Of the features lately, shape (n_features,).
    """

    def __init__(
        self, places: NDArray[np.intp], n_features: int, saved: Mapping[str, Any] | None = None
    ) -> None:
        state = saved or {}
        self._places = places
        zeros = [0.0] * n_features
        self.mean = np.array(state.get("mean", zeros))
        self._spread = np.array(state.get("spread", zeros))
        self._sum = np.array(state.get("sum", zeros))
        self._n: int = state.get("n", 0)
        self._weight: float = state.get("weight", 0.0)
        self._detector = Detector(_SETTINGS, state.get("detector"))

    def update(self, x: FloatVector) -> bool:
        """Count a query; whether it is the one that gives a shift away."""
        self._sum += x
        self._n += 1
        if self._n < _BATCH:
            return False
        batch, self._sum, self._n = self._sum / _BATCH, np.zeros_like(self._sum), 0
        apart = (batch - self.mean) ** 2
        distance = self._distance(apart)
        change = None if distance is None else self._detector.update(distance)
        moved = change is not None and change.mean > _FAR
        if moved:
            self._weight = 0.0
        elif distance is not None and distance > _FAR:
            # What may be the first of another mix is kept out of what it is compared with.
            return False
        self._weight = min(_MEMORY, self._weight + 1.0)
        self.mean += (batch - self.mean) / self._weight
        if self._weight > 1.0:
            self._spread += (apart - self._spread) / (self._weight - 1.0)
        return moved

    def _distance(self, apart: NDArray[np.float64]) -> float | None:
        """Logarithm of the squared distance over what is usual; None until that is known."""
        if self._weight < _KNOWN or not len(self._places):
            return None
        usual = np.maximum(self._spread[self._places], 1e-6)
        return float(np.log(np.mean(apart[self._places] / usual) + 1e-6))

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        return {
            "mean": self.mean.tolist(),
            "spread": self._spread.tolist(),
            "sum": self._sum.tolist(),
            "n": self._n,
            "weight": self._weight,
            "detector": self._detector.state(),
        }
