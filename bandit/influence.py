"""Points and row influences of the off-policy estimators.

The error of every estimator here is about the mean of its rows' *influences*, so one interval, from
their spread, serves them all. Everything works along the last axis: replications are one call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from bandit.intervals import Array, score_interval, standard_error, student_quantile
from bandit.sample import Sample
from bandit.support import effective_sample_size

IntervalKind: TypeAlias = Literal["score", "gaussian"]


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """A point (...) and the centred influence of every row (..., n).

    ``ceiling`` is the largest value that the point can have; infinity for IPS.
    """

    value: Array
    scores: Array
    ceiling: float = 1.0


def ips_influence(sample: Sample) -> Influence:
    """``V = mean(w r)``: unbiased if the propensities are right.

    Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe",
    JASA 1952.
    """
    terms = sample.weight * sample.reward
    value = terms.mean(axis=-1)
    return Influence(value, terms - value[..., None], np.inf)


def snips_influence(sample: Sample) -> Influence:
    """``V = Σ w r / Σ w``: barely biased, far less noisy, moves with the reward when it is shifted.

    Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NIPS
    2015. Influences are those of a ratio, ``w (r - V) / w̄``, each divided by one minus the row's
    share of the weight, as leaving it out would do.
    """
    weight = sample.weight
    total = weight.sum(axis=-1, keepdims=True)
    share = weight / np.where(total > 0.0, total, 1.0)
    value = (share * sample.reward).sum(axis=-1)
    rest = np.maximum(1.0 - share, 1e-6)
    scores = sample.n * share * (sample.reward - value[..., None]) / rest
    return Influence(np.where(total[..., 0] > 0.0, value, np.nan), scores)


def dr_influence(sample: Sample) -> Influence:
    """``V = mean(q̂(x, π) + w (r - q̂(x, a)))``: right if the propensities or the model are.

    Dudík, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011.
    """
    q_logged, q_target = sample.modelled()
    terms = q_target + sample.weight * (sample.reward - q_logged)
    value = terms.mean(axis=-1)
    return Influence(value, terms - value[..., None])


def switch_dr_influence(sample: Sample, tau: Array | float | None = None) -> Influence:
    """DR where ``w <= τ``, the model alone where weights are larger.

    Wang, Agarwal and Dudík, "Optimal and adaptive off-policy evaluation in contextual bandits",
    ICML 2017. With ``tau`` None the threshold is `switch_threshold`.
    """
    q_logged, q_target = sample.modelled()
    weight = sample.weight
    threshold = switch_threshold(sample) if tau is None else np.asarray(tau, dtype=np.float64)
    kept = np.where(weight <= threshold[..., None], weight, 0.0)
    terms = q_target + kept * (sample.reward - q_logged)
    value = terms.mean(axis=-1)
    return Influence(value, terms - value[..., None])


def switch_threshold(sample: Sample, *, n_candidates: int = 21) -> Array:
    """The τ that minimises an upper bound on the squared error of SWITCH-DR, shape (...).

    Among geometric candidates between the smallest and the largest positive weight it minimises
    ``Var(terms) / n + bias²``, the bias bounded by ``mean(w 1[w > τ])``: the target's mass handed
    to the model, as if the model were wrong by the whole range of the reward (the paper's
    conservative rule). So it leaves DR only where that gains more than it can cost.
    """
    q_logged, q_target = sample.modelled()
    weight = sample.weight
    positive = np.where(weight > 0.0, weight, np.nan)
    if np.isnan(positive).all():
        return np.zeros(weight.shape[:-1])
    low, high = np.nanmin(positive), np.nanmax(positive)
    candidates = np.geomspace(low, high, n_candidates)
    candidates[-1] = high
    errors = []
    for tau in candidates:
        inside = weight <= tau
        terms = q_target + np.where(inside, weight, 0.0) * (sample.reward - q_logged)
        bias = np.where(inside, 0.0, weight).mean(axis=-1)
        errors.append(terms.var(axis=-1) / sample.n + bias**2)
    return np.asarray(candidates[np.argmin(np.stack(errors), axis=0)])


def bounds(
    influence: Influence, sample: Sample, *, alpha: float = 0.05, kind: IntervalKind = "score"
) -> tuple[Array, Array]:
    """Ends of a ``1 - alpha`` interval, shape (...).

    ``score`` is what reports show (`bandit.intervals.score_interval`, Student's t with the degrees
    of freedom that the kurtosis leaves); ``gaussian`` is ``V ± z σ / √n`` with nothing of the kind.
    """
    error, df = standard_error(influence.scores, sample.session)
    if kind == "gaussian":
        half = NormalDist().inv_cdf(1.0 - alpha / 2.0) * error
        return influence.value - half, influence.value + half
    return score_interval(
        influence.value,
        error,
        quantile=student_quantile(alpha, df),
        ess=effective_sample_size(sample.weight),
        ceiling=influence.ceiling,
    )


INFLUENCES: Mapping[str, Callable[[Sample], Influence]] = MappingProxyType(
    {
        "ips": ips_influence,
        "snips": snips_influence,
        "dr": dr_influence,
        "switch_dr": switch_dr_influence,
    }
)
"""Every estimator whose interval comes from influences, by name."""
