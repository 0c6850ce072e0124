"""Intervals for anything that is made of sums over a log whose rows come in sessions.

A figure is a function of column totals. Leaving out one session after the other shows how much it
hangs on each (the delete-one-cluster jackknife: Tukey 1958; Quenouille, "Notes on bias in
estimation", Biometrika 1956; for clusters: Bell and McCaffrey, "Bias reduction in standard errors
for linear regression with multi-stage samples", Survey Methodology 2002). That needs no formula for
the figure, no random numbers, and errs on the wide side where sessions are few. The rest is as for
every other interval here: Student's t with the degrees of freedom that the spread of the sessions
leaves, and a score interval for what lies between 0 and 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bandit.intervals import score_interval, standard_error, student_quantile

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Figure: TypeAlias = Callable[[Floats], Floats]
"""From totals of shape (..., k) to values of shape (...); NaN where there is none."""

MOST_GROUPS = 2_000
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with 95 % bounds; the bounds are None where the log has too few sessions for any."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def from_zero(self) -> "Interval":
        """The same for what cannot be negative: the bounds begin at 0."""
        low = None if self.low is None else max(0.0, min(self.low, self.value))
        return Interval(self.value, low, self.high) if self.value >= 0.0 else self

    def times(self, factor: float) -> "Interval":
        """The same in another unit; ``factor`` is above 0."""
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return Interval(self.value * factor, low, high)


def clusters(names: Sequence[str]) -> Ints:
    """Numbers from 0 for equal names, by first appearance, at most `MOST_GROUPS` of them.

    Beyond that several sessions share a number: intervals stay right, and memory bounded.
    """
    number: dict[str, int] = {}
    found = [number.setdefault(name, len(number)) for name in names]
    return np.array(found, dtype=np.int64) % MOST_GROUPS


class Tally:
    """Sums of columns by cluster, and the intervals of figures that are made of them.

    Parameters
    ----------
    cluster
        Of every row, shape (n,), from 0.

    Examples
    --------
    >>> tally = Tally(np.array([0, 0, 1, 1]))
    >>> cut = tally.add(np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))
    >>> tally.interval(lambda totals: totals[..., 0] / totals[..., 1]).value
    0.75
    """

    def __init__(self, cluster: Ints) -> None:
        self._cluster = cluster
        self.n_clusters = int(cluster.max(initial=-1)) + 1
        self._sums: list[Floats] = []
        self._width = 0

    def add(self, columns: Floats) -> slice:
        """Take in columns of shape (n, k); where they will be among the totals."""
        parts = [np.bincount(self._cluster, column, self.n_clusters) for column in columns.T]
        self._sums.append(np.stack(parts, axis=1).astype(np.float64))
        start, self._width = self._width, self._width + len(parts)
        return slice(start, self._width)

    def totals(self) -> Floats:
        """Every column's sum, shape (k,)."""
        return np.asarray(np.concatenate(self._sums, axis=1).sum(axis=0))

    def interval(
        self, figure: Figure, *, alpha: float = 0.05, within: bool = False
    ) -> Interval | None:
        """The figure with bounds; None where it has no value.

        Parameters
        ----------
        within
            It is a mean of numbers in [0, 1].
        """
        sums = np.concatenate(self._sums, axis=1)
        totals = sums.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(figure(totals))
            without = figure(totals - sums) if self.n_clusters > 1 else np.zeros(0)
        if not np.isfinite(value):
            return None
        value = _settled(value)
        if self.n_clusters < 2 or not np.isfinite(without).all():
            return Interval(value)
        scores = np.asarray((self.n_clusters - 1) * (value - without))
        spread, df = standard_error(scores - scores.mean())
        quantile = student_quantile(alpha, df)
        error = np.where(spread < _ROUNDING * max(1.0, abs(value)), 0.0, spread)
        if not within:
            half = float(quantile * error)
            return Interval(value, _settled(value - half), _settled(value + half))
        # Sessions that the figure hangs on at all; where they all agree, only their number speaks.
        moved = np.count_nonzero(np.abs(scores) > _ROUNDING) or self.n_clusters
        ends = score_interval(
            np.array(value), error, quantile=quantile, ess=np.array(float(max(2, moved)))
        )
        low, high = (_settled(float(np.clip(end, 0.0, 1.0))) for end in ends)
        return Interval(value, low, high)


def _settled(value: float) -> float:
    """0 for what rounding leaves of a difference of equals."""
    return 0.0 if abs(value) < _ROUNDING else value


def ratio(top: int, bottom: int) -> Figure:
    """The figure ``total[top] / total[bottom]``."""
    return lambda totals: np.asarray(totals[..., top] / totals[..., bottom])


def from_zero(tally: Tally, figure: Figure) -> Interval | None:
    """The interval of a figure that cannot be negative, such as a bill."""
    found = tally.interval(figure)
    return None if found is None else found.from_zero()
