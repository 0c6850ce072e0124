"""Whether a log can say anything about a target policy: overlap, effective rows, warnings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bandit.errors import BanditError
from bandit.intervals import Array

FEW_ROWS = 100.0
"""Effective rows below which an interval deserves little trust."""


class WeightAboveMaximumError(BanditError):
    """An importance weight exceeds the maximum that the guarantee was asked for."""

    def __init__(self, seen: float, w_max: float) -> None:
        super().__init__(
            f"an importance weight of {seen:g} exceeds w_max = {w_max:g}: want w_max of at least"
            " 1 / (the exploration floor)"
        )
        self.seen = seen
        self.w_max = w_max


@dataclass(frozen=True, slots=True)
class SupportReport:
    """How much of what the target would do the log has tried.

    Attributes
    ----------
    unsupported
        Share of the target's probability on arms that the logging policy could not draw.
    below_floor
        Share on arms that it drew with less than the floor (those of ``unsupported`` included).
    largest_weight
        The largest ``target / propensity`` that could have happened on these rows.
    warnings
        Plain sentences; empty when all is well.
    """

    unsupported: float
    below_floor: float
    largest_weight: float
    warnings: tuple[str, ...] = ()


def effective_sample_size(weight: ArrayLike) -> Array:
    """Kish's ``(Σw)² / Σw²`` along the last axis: rows of equal weight worth as much; 0 if none.

    Examples
    --------
    >>> float(effective_sample_size([1.0, 1.0, 0.0, 0.0]))
    2.0
    """
    w = np.asarray(weight, dtype=np.float64)
    top = w.max(axis=-1, keepdims=True)
    w = w / np.where(top > 0.0, top, 1.0)
    square = (w * w).sum(axis=-1)
    return np.asarray(w.sum(axis=-1) ** 2 / np.where(square > 0.0, square, 1.0))


def support_report(
    target: ArrayLike, logged: ArrayLike, *, floor: float, tolerance: float = 1e-3
) -> SupportReport:
    """Overlap of two policies over the same rows.

    Parameters
    ----------
    target, logged
        pmfs of shape (n, n_arms), each row summing to 1; 0 for an arm that is not eligible.
    floor
        The exploration floor that the log is supposed to have, in [0, 1].
    tolerance
        Share of the target's mass below which nothing is said.
    """
    wanted = np.asarray(target, dtype=np.float64)
    tried = np.asarray(logged, dtype=np.float64)
    mass = max(float(wanted.sum()), 1e-300)
    unsupported = float(wanted[tried <= 0.0].sum()) / mass
    below = float(wanted[tried < floor * (1.0 - 1e-9)].sum()) / mass
    possible = (wanted > 0.0) & (tried > 0.0)
    largest = float((wanted[possible] / tried[possible]).max(initial=0.0))
    warnings = []
    if unsupported > tolerance:
        warnings.append(
            f"{unsupported:.1%} of what the candidate would do was never tried in the log: its"
            " reward there is unknown, and every estimate below leaves it out"
        )
    if below - unsupported > tolerance:
        warnings.append(
            f"{below - unsupported:.1%} of what the candidate would do was tried with less than the"
            f" exploration floor of {floor:g}: expect wide intervals"
        )
    return SupportReport(unsupported, below, largest, tuple(warnings))


def weight_warnings(weight: Array) -> tuple[str, ...]:
    """What the weights of one sample, shape (n,), give reason to doubt."""
    n = len(weight)
    size = float(effective_sample_size(weight))
    if size == 0.0:
        return ("no logged decision agrees with the candidate: the log cannot value it",)
    warnings = []
    if size < FEW_ROWS:
        warnings.append(
            f"{n:,} decisions are worth only {size:.0f}: intervals may cover less than they say"
        )
    mean, error = float(weight.mean()), float(weight.std()) / np.sqrt(n)
    if abs(mean - 1.0) > 4.0 * error + 1e-3:
        warnings.append(
            f"importance weights average {mean:.2f} instead of 1: the candidate does what the log"
            " never tried, or the logged propensities are not those that were drawn with"
        )
    share = float(weight.max() / weight.sum())
    if share > 0.1:
        warnings.append(f"a single decision carries {share:.0%} of the weight")
    return tuple(warnings)


def check_weights(weight: Array, w_max: float) -> None:
    """Refuse weights above the maximum that a guarantee builds on.

    Raises
    ------
    WeightAboveMaximumError
    """
    seen = float(weight.max(initial=0.0))
    if seen > w_max * (1.0 + 1e-9):
        raise WeightAboveMaximumError(seen, w_max)


def outcome_observation(
    *, edge: ArrayLike, cloud: ArrayLike, cascade: ArrayLike, escalate: ArrayLike
) -> tuple[Array, Array]:
    """Probabilities with which the log sees the edge's and the cloud's answer to each query.

    A cascade shows the edge's answer always and the cloud's when its gate escalates, so

    ``P(edge seen) = p(edge) + p(cascade)``,
    ``P(cloud seen) = p(cloud) + p(cascade) · p(escalate | confidence)``.

    Dividing by these, not by the propensity of the arm drawn, uses every row in which an answer was
    seen and judged; rows in which it was not have weight 0.

    Parameters
    ----------
    edge, cloud, cascade
        Logged pmf, each of shape (n,).
    escalate
        Probability that the gate escalates, given what it sees of the edge's answer, shape (n,).

    Examples
    --------
    >>> [p.tolist() for p in outcome_observation(edge=0.2, cloud=0.3, cascade=0.5, escalate=0.4)]
    [0.7, 0.5]
    """
    both = np.asarray(cascade, dtype=np.float64)
    seen_edge = np.asarray(edge, dtype=np.float64) + both
    seen_cloud = np.asarray(cloud, dtype=np.float64) + both * np.asarray(escalate)
    return np.asarray(seen_edge), np.asarray(seen_cloud)


def gated_observation(
    direct: float, through: float, *, passed: float = 1.0, typical: float = 1.0
) -> tuple[float, float]:
    """What to divide by for an arm that is also part of cascades: drawn itself, and gated.

    Unlike `outcome_observation` it needs the gate's probability only where a gate spoke. With
    ``P = direct + through``, rows of the arm itself are worth ``1 / P`` and gated ones
    ``typical / (P passed)``: their means add up to ``direct / P + through / P = 1``, whatever the
    gate makes of each answer. Where ``passed`` is ``typical`` both are `outcome_observation`.

    Parameters
    ----------
    direct
        Probability with which the arm itself is drawn.
    through
        Mean probability of seeing it through gates: ``Σ p(cascade) · typical``.
    passed
        Probability with which this gate delivered this answer, in (0, 1].
    typical
        Mean of ``passed`` over the draws of this cascade, in (0, 1].

    Examples
    --------
    >>> gated_observation(0.25, 0.5 * 0.5, passed=0.75, typical=0.5)
    (0.5, 0.75)
    """
    both = direct + through
    return both, both * passed / typical
