"""Cressie-Read estimate of a policy's value: a likelihood that knows that weights average to 1.

Importance weights have mean 1 in the population and not in the sample. An empirical likelihood
re-weights the sample until they do, and the value follows (Karampatziakis, Langford and Mineiro,
"Empirical likelihood for contextual bandits", NeurIPS 2020). The Cressie-Read divergence of power
-2, ``½ Σ ((n+1) Q_i - 1)²``, makes it a quadratic programme with a closed form: with ``u_i`` the
relative change of row i's probability,

    ``u = a (w - w̄) + b e``,   ``a = (1 - w̄) / Var(w)``,

``e`` being what is left of ``w r`` after regressing it on ``w``. The point has ``b = 0``; an end of
the interval has the largest ``|b|`` for which ``mean(u²)`` stays within the divergence of the point
plus the F(1, n) quantile over n + 1. One made-up row of extreme weight and reward keeps the
programme feasible and the interval honest when the heavy rows have not been seen.
"""

from dataclasses import dataclass

import numpy as np

from bandit.intervals import Array, student_quantile


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the last axis of the powers of ``w`` and ``r`` that everything is made of."""

    n: int
    w: Array
    ww: Array
    wr: Array
    wwr: Array
    wwrr: Array


def cressie_read_point(weight: Array, reward: Array, *, w_max: float = np.inf) -> Array:
    """Value under the re-weighted sample; what the weights leave unexplained earns the mean reward.

    Parameters
    ----------
    weight, reward
        Shape (..., n); weights at least 0.
    w_max
        The largest weight that can happen (1 / floor), not the largest that did.
    """
    sums = _sums(weight, reward)
    n, total = sums.n, sums.n + 1
    top = np.maximum(w_max, weight.max(axis=-1))
    fake = np.where(sums.w < n, top, np.minimum(0.0, weight.min(axis=-1)))
    finite = np.where(np.isinf(fake), 0.0, fake)
    mean = (finite + sums.w) / total
    variance = (finite**2 + sums.ww) / total - mean**2
    slope = np.where(np.isinf(fake), 0.0, (1.0 - mean) / np.where(variance > 0, variance, np.inf))
    base = np.where(np.isinf(fake), total / n, 1.0 - slope * mean)
    explained = (base * sums.w + slope * sums.ww) / total
    value = (base * sums.wr + slope * sums.wwr) / total
    return np.asarray(value + np.maximum(0.0, 1.0 - explained) * reward.mean(axis=-1))


def cressie_read_interval(
    weight: Array, reward: Array, *, w_max: float = np.inf, alpha: float = 0.05
) -> tuple[Array, Array]:
    """Both ends, in [0, 1]; for each the worst of a made-up row of weight 0 and of ``w_max``."""
    sums = _sums(weight, reward)
    n, total = sums.n, sums.n + 1
    top = np.maximum(w_max, weight.max(axis=-1))
    zero = np.zeros_like(top)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        point_divergence = _divergence(sums, np.where(sums.w < n, top, zero))
        budget = point_divergence + student_quantile(alpha, float(n)) ** 2 / total
        ends = []
        for worst, sign in ((0.0, 1.0), (1.0, -1.0)):
            candidates = [_end(sums, fake, worst, sign, budget) for fake in (zero, top)]
            lowest = np.fmin(*candidates)
            ends.append(np.clip(np.where(np.isnan(lowest), worst, sign * lowest), 0.0, 1.0))
    return ends[0], ends[1]


def _sums(weight: Array, reward: Array) -> _Sums:
    wr = weight * reward
    return _Sums(
        weight.shape[-1],
        weight.sum(axis=-1),
        (weight * weight).sum(axis=-1),
        wr.sum(axis=-1),
        (weight * wr).sum(axis=-1),
        (wr * wr).sum(axis=-1),
    )


def _divergence(sums: _Sums, fake: Array) -> Array:
    """``mean(u²)`` of the point; 1/n in the limit of an infinite made-up weight."""
    total = sums.n + 1
    mean = (fake + sums.w) / total
    variance = (fake**2 + sums.ww) / total - mean**2
    return np.where(np.isinf(fake), 1.0 / sums.n, (1.0 - mean) ** 2 / variance)


def _end(sums: _Sums, fake: Array, worst: float, sign: float, budget: Array) -> Array:
    """``sign`` times the extreme value with a made-up row (fake, worst); NaN if out of reach."""
    total = sums.n + 1
    w, wr = (fake + sums.w) / total, (fake * worst + sums.wr) / total
    w_w = (fake**2 + sums.ww) / total - w**2
    w_wr = (fake**2 * worst + sums.wwr) / total - w * wr
    wr_wr = (fake**2 * worst**2 + sums.wwrr) / total - wr**2
    centre = wr + (1.0 - w) * w_wr / w_w
    residual = wr_wr - w_wr**2 / w_w
    slack = budget - (1.0 - w) ** 2 / w_w
    # An infinite made-up row takes up all that the weights lack of 1: only w (r - worst) is left.
    gap = sums.wr - sums.w * worst
    gap_square = sums.wwrr - 2.0 * worst * sums.wwr + worst**2 * sums.ww
    infinite = np.isinf(fake)
    centre = np.where(infinite, worst + gap / sums.n, centre)
    residual = np.where(infinite, (gap_square - gap**2 / sums.n) / total, residual)
    slack = np.where(infinite, budget - 1.0 / sums.n, slack)
    reach = np.sqrt(np.maximum(residual, 0.0) * np.maximum(slack, 0.0))
    return np.where(slack >= -1e-15, sign * centre - reach, np.nan)
