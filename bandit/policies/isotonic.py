"""Calibration: the monotone map from what was predicted to what came true."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bandit.policies.linear import Vector

_KEPT = 500
"""Pairs of prediction and truth that a map is made from."""
_PRIOR = 60.0
"""Pairs after which the map counts as much as the prediction itself."""
_LEVEL_PRIOR = 10.0
_EAGER = 64
"""Pairs after each of which the map is made anew."""
_EVERY = 16
"""As many pairs lie between two maps after that."""


def isotonic(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """The best non-decreasing fit of ``y`` on ``x`` in squared error, as its blocks.

    Pool adjacent violators (Ayer, Brunk, Ewing, Reid and Silverman, "An empirical distribution
    function for sampling with incomplete information", 1955).

    Returns
    -------
    Mean ``x`` and value of every block, both of shape (m,) and increasing.

    Examples
    --------
    >>> isotonic(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    (array([1. , 2.5]), array([0.  , 0.75]))
    """
    order = np.argsort(x, kind="stable")
    blocks: list[tuple[float, float, float]] = []
    for at, value in zip(x[order].tolist(), y[order].tolist(), strict=True):
        n, place, level = 1.0, at, value
        while blocks and blocks[-1][2] >= level:
            m, before, lower = blocks.pop()
            place = (m * before + n * place) / (m + n)
            level = (m * lower + n * level) / (m + n)
            n += m
        blocks.append((n, place, level))
    found = np.array(blocks)
    return found[:, 1], found[:, 2]


class Calibration:
    """Turns predicted quality into quality as it came true, for one model.

    With few pairs it only shifts the level; the more there are, the more the isotonic map says.
    Between its blocks it is interpolated, and blended with the prediction, so that what ranked
    higher before ranks higher after.

    Parameters
    ----------
    pairs, seen
        What `state` gave, to continue from.
    """

    def __init__(self, pairs: Sequence[Sequence[float]] = (), *, seen: int = 0) -> None:
        self._pairs: list[tuple[float, float]] = [(p, q) for p, q in pairs]
        self._seen = seen
        self._fit()

    def state(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON-ready data."""
        return {"pairs": self._pairs, "seen": self._seen}

    def learn(self, predicted: float, quality: float) -> None:
        """Take in what was predicted before the truth was known, and the truth."""
        self._pairs.append((predicted, quality))
        del self._pairs[: -_KEPT - _EVERY]
        self._seen += 1
        if self._late == 0:
            self._fit()

    @property
    def _late(self) -> int:
        # Pairs that wait for the next fit: what is fitted follows from what is kept.
        return 0 if self._seen <= _EAGER else self._seen % _EVERY

    def _fit(self) -> None:
        data = np.array(self._pairs[: len(self._pairs) - self._late]).reshape(-1, 2)[-_KEPT:]
        n = len(data)
        self._share = n / (n + _PRIOR) * min(1.0, n / _EAGER)
        self._shift = float((data[:, 1] - data[:, 0]).sum()) / (n + _LEVEL_PRIOR)
        self._x, self._y = isotonic(data[:, 0], data[:, 1]) if n else (np.zeros(1), np.zeros(1))

    def __call__(self, predicted: float) -> float:
        """The calibrated prediction; increasing in ``predicted``."""
        mapped = float(np.interp(predicted, self._x, self._y))
        return self._share * mapped + (1.0 - self._share) * (predicted + self._shift)
