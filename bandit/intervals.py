"""Intervals for the mean of weighted rewards, from a point and its influence scores.

Every function works along the last axis, so that thousands of replications are one call.
"""

from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(96)
_TINY = 1e-300


def student_quantile(alpha: float, df: Array | float) -> Array:
    """The t that ``|T|`` exceeds with probability ``alpha``; squared, the quantile of F(1, df).

    With ``t = √ν tan θ`` the central probability is ``∫₀^θ cos^(ν-1) / ∫₀^(π/2) cos^(ν-1)``, both
    by Gauss-Legendre; Newton from the normal quantile climbs to the root without overshooting,
    for the integral is concave.

    Parameters
    ----------
    alpha
        Two-sided, in (0, 1).
    df
        Degrees of freedom, at least 1; any shape.

    Examples
    --------
    >>> round(float(student_quantile(0.05, 10.0)), 6)
    2.228139
    """
    nu = np.maximum(np.asarray(df, dtype=np.float64), 1.0)
    end = np.minimum(np.pi / 2, 14.0 / np.sqrt(nu))
    total = _cosine_integral(end, nu)
    angle = np.arctan(NormalDist().inv_cdf(1.0 - alpha / 2.0) / np.sqrt(nu))
    for _ in range(60):
        density = np.maximum(np.cos(angle) ** (nu - 1.0), _TINY)
        step = ((1.0 - alpha) * total - _cosine_integral(angle, nu)) / density
        angle = np.minimum(angle + step, end)
        if np.all(np.abs(step) <= 1e-14 * angle):
            break
    return np.asarray(np.sqrt(nu) * np.tan(angle))


def standard_error(scores: Array, cluster: NDArray[np.int64] | None = None) -> tuple[Array, Array]:
    """Standard error of a mean of scores, and the degrees of freedom behind it.

    The variance of a variance estimate grows with the kurtosis κ of the scores, so few heavy rows
    count as few: ``df = 2 m / (κ - 1)`` (moment matching after Satterthwaite, "An approximate
    distribution of estimates of variance components", Biometrics Bulletin 1946), at most ``m - 1``.

    Parameters
    ----------
    scores
        Influence scores of shape (..., n), of mean about 0.
    cluster
        Group of each row, shape (n,), values from 0; rows of a group may depend on one another
        (sandwich variance over group sums). ``m`` is then the number of groups, else n.
    """
    n = scores.shape[-1]
    sums = scores if cluster is None else _group_sums(scores, cluster)
    m = sums.shape[-1]
    square = sums * sums
    second = square.mean(axis=-1)
    fourth = (square * square).mean(axis=-1)
    error = np.sqrt(second * m / max(m - 1, 1) * m) / n
    kurtosis = np.where(second > 0.0, fourth / np.maximum(second * second, _TINY), 1.0)
    df = 2.0 * m / np.maximum(kurtosis - 1.0, 1e-12)
    return error, np.clip(df, 1.0, max(m - 1, 1))


def score_interval(
    value: Array, error: Array, *, quantile: Array, ess: Array, ceiling: float = 1.0
) -> tuple[Array, Array]:
    """The values v that a score test keeps: ``(v̂ - v)² <= t² k v (1 - v / ceiling)``.

    Wilson's interval (E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", JASA 1927) with the effective sample size ``1/k`` that the standard error implies,
    as survey statistics does for weighted proportions (Korn and Graubard, "Confidence intervals for
    proportions with small expected number of positive counts", Survey Methodology 1998). It stays
    in range and leans towards the middle where a symmetric interval would be too short.

    Parameters
    ----------
    ess
        Effective sample size by weights; the fallback for ``1/k`` at the ends of the range, where
        the standard error says nothing.
    ceiling
        1 for averages of rewards; infinity for IPS, whose average may exceed 1.
    """
    level = 1.0 if np.isinf(ceiling) else ceiling
    point = np.clip(value, 0.0, ceiling)
    slope = 0.0 if np.isinf(ceiling) else 1.0 / ceiling
    square = quantile * quantile
    count = np.maximum(ess, 1e-12)
    middle = (point * count + 0.5 * level * square) / (count + square)
    raw = error**2 / np.maximum(point * (1.0 - point * slope), _TINY)
    capped = np.maximum(1.0 / count, error**2 / (middle * (1.0 - middle * slope)))
    k = np.where((raw > 0.0) & (raw < capped), raw, capped)
    a, b = 1.0 + square * k * slope, point + 0.5 * square * k
    root = np.sqrt(np.maximum(b * b - a * point * point, 0.0))
    return np.asarray((b - root) / a), np.asarray((b + root) / a)


def empirical_bernstein(values: Array, *, width: float, alpha: float = 0.05) -> tuple[Array, Array]:
    """Interval that holds at every n, not only for large n, for values in a range of ``width``.

    ``x̄ ± (√(2 V ln(4/α) / n) + 7 width ln(4/α) / (3 (n - 1)))``: Maurer and Pontil, "Empirical
    Bernstein bounds and sample-variance penalization", COLT 2009, Theorem 4, on both sides.
    Covers far more than asked: for guarantees, not for reports.
    """
    n = values.shape[-1]
    log = np.log(4.0 / alpha)
    spread = np.sqrt(2.0 * values.var(axis=-1, ddof=1) * log / n)
    half = spread + 7.0 * width * log / (3.0 * (n - 1))
    mean = values.mean(axis=-1)
    return np.asarray(mean - half), np.asarray(mean + half)


def _cosine_integral(end: Array, nu: Array) -> Array:
    """``∫₀^end cos^(ν-1)``, elementwise."""
    half = np.asarray(end)[..., None] / 2.0
    power = np.cos(half * (_NODES + 1.0)) ** (nu[..., None] - 1.0)
    return np.asarray((power * _NODE_WEIGHTS).sum(axis=-1) * half[..., 0])


def _group_sums(scores: Array, cluster: NDArray[np.int64]) -> Array:
    """Scores of shape (..., n) summed by group: shape (..., m)."""
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    return np.asarray(np.add.reduceat(scores[..., order], starts, axis=-1))
