"""Off-policy evaluation: what another policy would have earned, from the log of this one.

All estimators share two steps. First a point and the *influence* of every row, such that the
estimation error is about the mean of the influences; then an interval from their spread
(`bandit.intervals`). Both work along the last axis, so replications are one call.

Which to read. Share of 2,000 logs (two arms, half of the target's choices seen at the floor) whose
nominal 95 % interval holds the truth, over binary and graded rewards, from
``tests/statistical/test_ope_coverage.py``:

============  ======================  ==========  ===================================
method        floors .02, .05, .1,    2,000 rows  20 rows of weight 50, of which two
              2,000 to 10,000 rows    at .02      expected to succeed
============  ======================  ==========  ===================================
IPS           .94 to .96              .95         .86
SNIPS         .93 to .96              .93 to .95  .87
DR            .94 to .97              .96         .86
Cressie-Read  .95 to .97              .96 to .98  .99
============  ======================  ==========  ===================================

So DR where there is a model of the reward (never biased by it, and sharper if it is any good),
SNIPS where there is none, and Cressie-Read when the effective sample size is below 100, where the
others promise too much (`preferred`). A Clopper-Pearson interval on weighted counts is not offered:
it undercovers. For watching a growing log, and for promotion, `bandit.confseq`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from bandit.cressie_read import cressie_read_interval, cressie_read_point
from bandit.influence import (
    Influence,
    IntervalKind,
    bounds,
    dr_influence,
    ips_influence,
    snips_influence,
    switch_dr_influence,
)
from bandit.intervals import empirical_bernstein, standard_error
from bandit.sample import Sample
from bandit.support import FEW_ROWS, check_weights, effective_sample_size, weight_warnings


@dataclass(frozen=True, slots=True)
class ValueEstimate:
    """A policy's value with its interval.

    Attributes
    ----------
    value
        Mean reward per decision; NaN when no row speaks for the target.
    low, high
        Ends of the interval; (0, 1) when nothing is known.
    n, ess
        Rows used, and how many rows of equal weight they are worth.
    warnings
        Plain sentences.
    """

    value: float
    low: float
    high: float
    method: str
    n: int
    ess: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON; an unknown value is None."""
        return {
            "method": self.method,
            "value": self.value if np.isfinite(self.value) else None,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "ess": self.ess,
            "warnings": list(self.warnings),
        }


def ips(sample: Sample, *, alpha: float = 0.05, kind: IntervalKind = "score") -> ValueEstimate:
    """Inverse propensity score estimate of one sample; see `ips_influence`.

    Examples
    --------
    >>> half = np.full(4, 0.5)
    >>> log = Sample(np.array([1.0, 0.0, 1.0, 1.0]), half, np.array([1.0, 1.0, 0.0, 0.0]))
    >>> ips(log).value
    0.5
    """
    return _estimate("ips", ips_influence(sample), sample, alpha=alpha, kind=kind)


def snips(sample: Sample, *, alpha: float = 0.05, kind: IntervalKind = "score") -> ValueEstimate:
    """Self-normalised estimate of one sample; see `snips_influence`."""
    return _estimate("snips", snips_influence(sample), sample, alpha=alpha, kind=kind)


def dr(sample: Sample, *, alpha: float = 0.05, kind: IntervalKind = "score") -> ValueEstimate:
    """Doubly robust estimate of one sample; see `dr_influence`."""
    return _estimate("dr", dr_influence(sample), sample, alpha=alpha, kind=kind)


def switch_dr(
    sample: Sample,
    *,
    tau: float | None = None,
    alpha: float = 0.05,
    kind: IntervalKind = "score",
) -> ValueEstimate:
    """SWITCH-DR estimate of one sample; see `switch_dr_influence`.

    Its interval speaks of noise only: where the model alone decides, its bias is not in it.
    """
    return _estimate("switch_dr", switch_dr_influence(sample, tau), sample, alpha=alpha, kind=kind)


def cressie_read(sample: Sample, *, w_max: float = np.inf, alpha: float = 0.05) -> ValueEstimate:
    """Cressie-Read estimate of one sample; see `bandit.cressie_read`.

    With sessions the interval is stretched about the point by the factor by which they widen the
    self-normalised one.
    """
    weight, reward = sample.weight, sample.reward
    value = float(cressie_read_point(weight, reward, w_max=w_max))
    low, high = map(float, cressie_read_interval(weight, reward, w_max=w_max, alpha=alpha))
    if sample.session is not None:
        scores = snips_influence(sample).scores
        factor = float(standard_error(scores, sample.session)[0])
        factor /= max(float(standard_error(scores)[0]), 1e-300)
        low = max(0.0, value - max(1.0, factor) * (value - low))
        high = min(1.0, value + max(1.0, factor) * (high - value))
    size = float(effective_sample_size(weight))
    if size == 0.0:
        value, low, high = np.nan, 0.0, 1.0
    return ValueEstimate(value, low, high, "cressie_read", sample.n, size, weight_warnings(weight))


def bernstein(sample: Sample, *, w_max: float, alpha: float = 0.05) -> ValueEstimate:
    """Mean of ``½ + w (r - ½)`` with an interval that holds at every n; far wider than asked for.

    Parameters
    ----------
    w_max
        Largest weight that can happen, stated beforehand: 1 / floor.

    Raises
    ------
    WeightAboveMaximumError
        If a weight exceeds it.
    """
    weight = sample.weight
    check_weights(weight, w_max)
    terms = 0.5 + weight * (sample.reward - 0.5)
    low, high = empirical_bernstein(terms, width=w_max, alpha=alpha)
    return ValueEstimate(
        float(terms.mean()),
        max(0.0, float(low)),
        min(1.0, float(high)),
        "bernstein",
        sample.n,
        float(effective_sample_size(weight)),
        weight_warnings(weight),
    )


def replay(
    sample: Sample, rng: Generator, *, w_max: float | None = None, alpha: float = 0.05
) -> ValueEstimate:
    """Mean reward of the rows that rejection sampling keeps: as if the target had been run.

    Row i is kept with probability ``w_i / M``. Under uniform logging and a deterministic target
    this is Li, Chu, Langford and Wang, "Unbiased offline evaluation of contextual-bandit-based news
    article recommendation algorithms", WSDM 2011. Keeps about n / M rows: simple, and wasteful.

    Parameters
    ----------
    w_max
        M; the largest weight seen when None.
    """
    weight = sample.weight
    largest = float(weight.max()) if w_max is None else w_max
    kept = rng.random(sample.n) * largest < weight
    if not kept.any():
        return ValueEstimate(np.nan, 0.0, 1.0, "replay", 0, 0.0, weight_warnings(weight))
    ones = np.ones(int(kept.sum()))
    session = None if sample.session is None else sample.session[kept]
    seen = Sample(sample.reward[kept], ones, ones, session=session)
    return replace(snips(seen, alpha=alpha), method="replay")


def estimate_all(
    sample: Sample, *, w_max: float = np.inf, alpha: float = 0.05
) -> tuple[ValueEstimate, ...]:
    """IPS, SNIPS and Cressie-Read, then DR and SWITCH-DR if the sample has a model."""
    found = [ips(sample, alpha=alpha), snips(sample, alpha=alpha)]
    found.append(cressie_read(sample, w_max=w_max, alpha=alpha))
    if sample.q_logged is not None:
        found += [dr(sample, alpha=alpha), switch_dr(sample, alpha=alpha)]
    return tuple(found)


def preferred(estimates: Sequence[ValueEstimate]) -> ValueEstimate | None:
    """The one to read first; None when the log cannot value the target."""
    by_method = {e.method: e for e in estimates if np.isfinite(e.value)}
    order = ["dr", "snips", "cressie_read"]
    if by_method and min(e.ess for e in by_method.values()) < FEW_ROWS:
        order.insert(0, "cressie_read")
    return next((by_method[method] for method in order if method in by_method), None)


def _estimate(
    method: str, influence: Influence, sample: Sample, *, alpha: float, kind: IntervalKind
) -> ValueEstimate:
    size = float(effective_sample_size(sample.weight))
    value, (low, high) = influence.value, bounds(influence, sample, alpha=alpha, kind=kind)
    known = size > 0.0
    return ValueEstimate(
        float(value) if known else np.nan,
        float(low) if known else 0.0,
        float(high) if known else 1.0,
        method,
        sample.n,
        size,
        weight_warnings(sample.weight),
    )
