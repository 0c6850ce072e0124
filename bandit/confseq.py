"""Confidence sequences: intervals for a policy's value that hold at every step at once.

Whoever watches a dashboard and stops when the numbers look good breaks an ordinary interval; these
may be read after every query. Construction after Waudby-Smith, Wu, Ramdas, Karampatziakis and
Mineiro, "Anytime-valid off-policy inference for contextual bandits" (ACM/IMS J. Data Science 2024,
arXiv 2210.10768), with the exponential supermartingale of Howard, Ramdas, McAuliffe and Sekhon,
"Time-uniform, nonparametric, nonasymptotic confidence sequences" (Annals of Statistics 2021):

    ``φ_i = c_i + w_i (r_i - c_i)``,  ``d_i = φ_i - c_i >= -b_i``,
    ``M_t(λ) = exp( λ Σ(φ_i - v_i) - Σ d_i² ψ(λ b_i) / b_i² )``,  ``ψ(x) = -log(1 - x) - x``

where ``c_i`` and ``b_i`` are known before row i. As ``M`` is a supermartingale for every λ, so is
its average over a fixed grid of λ, and by Ville's inequality it never reaches ``1/α`` but with
probability α. What is covered is the running average of the values ``v_i``: the world may drift,
and the logging policy may learn, as long as each logged propensity is the one drawn with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandit.intervals import Array
from bandit.support import check_weights

_GRID_SIZE = 20
STEEPEST = 0.9
SLOPES: Array = STEEPEST * np.exp2(-0.5 * np.arange(_GRID_SIZE))
"""The λ of rows that cannot fall below -1; for others, divided by how far they can."""


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """Estimate and bounds after each of ``steps`` rows.

    Attributes
    ----------
    steps
        Row counts, increasing, shape (m,).
    value, low, high
        Shape (..., m), within the range of what is estimated; with probability ``1 - alpha`` the
        running average lies in every one of them.
    """

    steps: NDArray[np.int64]
    value: Array
    low: Array
    high: Array
    alpha: float

    def nested(self) -> "ConfidenceSequence":
        """Running intersection: only ever narrower, and valid only where nothing drifts.

        When the true value moves, the intersection can become empty (``low > high``), which is
        itself evidence of drift at level ``alpha``.
        """
        return ConfidenceSequence(
            self.steps,
            self.value,
            np.maximum.accumulate(self.low, axis=-1),
            np.minimum.accumulate(self.high, axis=-1),
            self.alpha,
        )

    @property
    def final(self) -> tuple[float, float, float]:
        """Value, low and high after the last row; of the first replication if there are several."""
        return (
            float(self.value[..., -1].flat[0]),
            float(self.low[..., -1].flat[0]),
            float(self.high[..., -1].flat[0]),
        )


def value_sequence(
    weight: Array,
    reward: Array,
    *,
    w_max: float,
    alpha: float = 0.05,
    steps: NDArray[np.int64] | None = None,
) -> ConfidenceSequence:
    """Anytime-valid bounds on the value of a target policy.

    Rows are centred by ``c``, a running self-normalised estimate, which halves the width for
    rewards around one half.

    Parameters
    ----------
    weight, reward
        In the order in which they were logged, shape (..., n); rewards in [0, 1].
    w_max
        Largest weight that can happen, stated beforehand: 1 / floor.
    steps
        Row counts at which to report; every row when None.

    Raises
    ------
    WeightAboveMaximumError
        If a weight exceeds ``w_max``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> seen = value_sequence(np.ones(2000), (rng.random(2000) < 0.7) * 1.0, w_max=1.0)
    >>> bool(seen.low[-1] < 0.7 < seen.high[-1])
    True
    """
    check_weights(weight, w_max)
    centre = _running_centre(weight, reward, w_max)
    gain = weight * (reward - centre)
    below = w_max * centre
    above = w_max * (1.0 - centre)
    return _sequence(_Rows(centre, gain, below, above, w_max), (0.0, 1.0), alpha=alpha, steps=steps)


def lift_sequence(
    weight: Array,
    reward: Array,
    *,
    w_max: float,
    alpha: float = 0.05,
    steps: NDArray[np.int64] | None = None,
) -> ConfidenceSequence:
    """Anytime-valid bounds on the target's value minus the logging policy's, in [-1, 1].

    The gate for promotion: replace the incumbent once ``low > 0``. Rows are ``(w - 1)(r - c)``, so
    a target that often agrees with the log is compared more sharply than by two sequences.

    Parameters and errors as in `value_sequence`.
    """
    check_weights(weight, w_max)
    centre = _running_centre(weight, reward, w_max)
    gain = (weight - 1.0) * (reward - centre)
    excess = max(w_max - 1.0, 0.0)
    below = np.maximum(excess * centre, 1.0 - centre)
    above = np.maximum(excess * (1.0 - centre), centre)
    return _sequence(
        _Rows(np.zeros_like(centre), gain, below, above, w_max),
        (-1.0, 1.0),
        alpha=alpha,
        steps=steps,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Centred rows: ``-below <= gain`` and ``-above <= -gain``, both known before the row."""

    centre: Array
    gain: Array
    below: Array
    above: Array
    w_max: float


def _running_centre(weight: Array, reward: Array, w_max: float) -> Array:
    """Self-normalised estimate from the rows before each row, pulled to ½ by one heavy row."""
    weighted = np.cumsum(weight * reward, axis=-1) - weight * reward
    total = np.cumsum(weight, axis=-1) - weight
    return np.asarray((0.5 * w_max + weighted) / (w_max + total))


def _sequence(
    rows: _Rows,
    limits: tuple[float, float],
    *,
    alpha: float,
    steps: NDArray[np.int64] | None,
) -> ConfidenceSequence:
    n = rows.gain.shape[-1]
    at = np.arange(1, n + 1) if steps is None else np.asarray(steps, dtype=np.int64)
    mean: Array = np.cumsum(rows.centre + rows.gain, axis=-1)[..., at - 1] / at
    # Fixed beforehand, as the proof wants: no bound on a deviation exceeds max(w_max, 1).
    slopes: Array = SLOPES / max(rows.w_max, 1.0)
    lower = mean - _deviation(rows.gain, rows.below, slopes=slopes, alpha=alpha / 2, at=at) / at
    upper = mean + _deviation(-rows.gain, rows.above, slopes=slopes, alpha=alpha / 2, at=at) / at
    return ConfidenceSequence(
        at, np.clip(mean, *limits), np.clip(lower, *limits), np.clip(upper, *limits), alpha
    )


def _deviation(
    gain: Array, bound: Array, *, slopes: Array, alpha: float, at: NDArray[np.int64]
) -> Array:
    """How far ``Σ(φ_i - v_i)`` can have strayed upwards after each of ``at`` rows.

    Solves ``mean_j exp(λ_j s - A_j) = 1/α`` for s, with ``A_j = Σ d² ψ(λ_j b) / b²``: convex and
    increasing in s, so Newton from above descends to the root.
    """
    square = (gain / bound) ** 2
    charge = np.empty((len(slopes), *gain.shape[:-1], len(at)))
    for j, slope in enumerate(slopes):
        reach = slope * bound
        charge[j] = np.cumsum(square * (-np.log1p(-reach) - reach), axis=-1)[..., at - 1]
    slope = slopes.reshape(-1, *([1] * gain.ndim))
    target = np.log(len(slopes) / alpha)
    stray = ((target + charge) / slope).min(axis=0)
    for _ in range(100):
        exponent = slope * stray - charge
        top = exponent.max(axis=0)
        mass = np.exp(exponent - top)
        total = mass.sum(axis=0)
        step = (top + np.log(total) - target) * total / (slope * mass).sum(axis=0)
        stray = stray - step
        if np.all(np.abs(step) <= 1e-10 * np.maximum(np.abs(stray), 1.0)):
            break
    return np.asarray(stray)
