"""What recent predictions would have cost at any price of money."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.primitives import Prediction

Floats = NDArray[np.float64]
DEAR = 5.0
"""Typical gaps of utility by which an arm has to be charged more than the best to be explored half
as often as its value says."""
_HALVINGS = 24
"""Enough to find a price within one part in a million of the widest range there is."""
_WIDEST = 1e4
"""Largest distance in utility that a price is to outdo: two that could not both be kept would drive
each other beyond every number."""
_WORST = -1e9
"""Utility of an arm that cannot be chosen."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Predictions that hold at any price: arrays of shape (n, k), n at least 1.

    Attributes
    ----------
    utility
        Before money is charged for.
    cost_usd
        Expected bill.
    eligible
        False where an arm was not there; its utility and cost are of no account.
    """

    utility: Floats
    cost_usd: Floats
    eligible: NDArray[np.bool_]

    def gap(self) -> float:
        """Typical distance of two arms in utility."""
        n = np.maximum(1, self.eligible.sum(axis=1))
        known = np.where(self.eligible, self.utility, 0.0)
        mean = known.sum(axis=1) / n
        off = np.where(self.eligible, np.abs(known - mean[:, None]), 0.0)
        return max(1e-6, float((off.sum(axis=1) * 2.0 / n).mean()))

    def dearest_usd(self) -> float:
        """The dearest arm's bill in US dollars: the median, for some expectations run wild."""
        return float(np.median(np.where(self.eligible, self.cost_usd, 0.0).max(axis=1)))

    def spend(self, price: float, sharpness: float) -> float:
        """Mean bill in US dollars, had all of them been drawn at ``price``.

        Parameters
        ----------
        sharpness
            Gamma of inverse-gap weighting, per unit of utility.
        """
        return self._spend(price, sharpness, DEAR * self.gap())

    def _spend(self, price: float, sharpness: float, dear: float) -> float:
        cost = np.where(self.eligible, self.cost_usd, 0.0)
        value = np.where(self.eligible, self.utility - price * cost, _WORST)
        rows, best = np.arange(len(value)), value.argmax(axis=1)
        k = self.eligible.sum(axis=1)[:, None]
        extra = np.maximum(0.0, price * (cost - cost[rows, best][:, None]))
        behind = value[rows, best][:, None] - value
        # As `bandit.pacing.lowered` has it.
        p = 1.0 / (k + sharpness * behind * (1.0 + extra / dear))
        p[rows, best] += 1.0 - p.sum(axis=1)
        return float((p * cost).sum(axis=1).mean())

    def price(self, target_usd: float, sharpness: float) -> float:
        """A price at which `spend` comes to ``target_usd``, in reward per US dollar.

        Looked for between "next to nothing" and "nobody would pay"; these stand in for a target
        that is kept without any price, or at none.
        """
        low, high = self._range()
        dear = DEAR * self.gap()
        if self._spend(low, sharpness, dear) <= target_usd:
            return low
        for _ in range(_HALVINGS):
            middle = math.sqrt(low * high)
            if self._spend(middle, sharpness, dear) <= target_usd:
                high = middle
            else:
                low = middle
        return high

    def _range(self) -> tuple[float, float]:
        cost = np.where(self.eligible, self.cost_usd, 0.0)
        extra = cost.max(axis=1)[:, None] - cost
        steps = extra[self.eligible & (extra > 0.0)]
        if not len(steps):
            return 1e-9, 1e-9
        top = np.where(self.eligible, self.utility, -np.inf).max(axis=1)
        bottom = np.where(self.eligible, self.utility, np.inf).min(axis=1)
        gap = self.gap()
        widest = min(_WIDEST, max(gap, float((top - bottom).max())))
        # Never 0: policies estimate costs only where money has a price, or cost a weight.
        low = max(1e-12, 1e-3 * gap / float(steps.max()))
        return low, max(low, 100.0 * widest / float(steps.min()))


class Window:
    """The last predictions in which at least two arms had an expected bill.

    Parameters
    ----------
    size
        How many are kept.
    """

    def __init__(self, size: int) -> None:
        self._columns: dict[str, int] = {}
        self._table = np.full((2, size, 0), np.nan)
        self.n_seen = 0

    def add(self, prediction: Prediction) -> None:
        """Remember a prediction in the place of the oldest."""
        known = {
            arm: (e.utility, e.cost_usd)
            for arm, e in zip(prediction.arms, prediction.estimates, strict=False)
            if e.cost_usd is not None
        }
        if len(known) < 2:
            return
        for arm in known:
            if arm not in self._columns:
                self._columns[arm] = len(self._columns)
                room = np.full((2, self._table.shape[1], 1), np.nan)
                self._table = np.concatenate([self._table, room], axis=2)
        row = self._table[:, self.n_seen % self._table.shape[1]]
        row[:] = np.nan
        for arm, values in known.items():
            row[:, self._columns[arm]] = values
        self.n_seen += 1

    def reprice(self, factors: Mapping[str, float]) -> None:
        """Multiply the expected bills of some arms: their price moved."""
        for arm, factor in factors.items():
            if arm in self._columns:
                self._table[1, :, self._columns[arm]] *= factor

    def state(self) -> dict[str, Any]:
        """All of it, JSON-ready: numbers as little-endian float64 in base64, bit for bit."""
        table = self._table.astype("<f8").tobytes()
        return {
            "n_seen": self.n_seen,
            "arms": list(self._columns),
            "table": base64.b64encode(table).decode(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the window that was saved; it keeps the saved size.

        Raises
        ------
        ValueError, KeyError, TypeError
            If that is none; nothing changes then.
        """
        arms, n_seen = [str(arm) for arm in state["arms"]], int(state["n_seen"])
        table = np.frombuffer(base64.b64decode(state["table"]), dtype="<f8").astype(np.float64)
        size = len(table) // (2 * len(arms)) if arms else self._table.shape[1]
        self._table = table.reshape(2, size, len(arms))
        self._columns, self.n_seen = {arm: i for i, arm in enumerate(arms)}, n_seen

    def outlook(self) -> Outlook | None:
        """All of them; None before the first."""
        if self.n_seen == 0:
            return None
        utility, cost = self._table[:, : min(self.n_seen, self._table.shape[1])]
        return Outlook(utility, cost, ~np.isnan(utility))
