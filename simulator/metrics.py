"""What a run was worth: the numbers of ``results.json``.

APGR and CPT: Ong et al., "RouteLLM: learning to route LLMs with preference data", ICLR 2025,
section 3 (performance gap recovered, its mean over the share of strong calls, and the share needed
to recover x %). Here they are *progressive*: the ranking uses what the policy predicted of a round
before it learned from it. APSP, CA and AIL are the parts of RCS in "ECVL-ROUTER" (arXiv
2510.27256); the paper's weights are unknown to us, so **RCS is our own definition**: the scenario's
weights of quality, cost and latency.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.utility import Scenario
from simulator.drift import Phase
from simulator.second_stage import CASCADE
from simulator.table import Floats
from simulator.trace import Trace

PROBLEM_SOLVED = 0.5
"""Least score of a solved problem where the scenario has no minimal expectation score."""
RESAMPLES = 2_000
NUMBERS = (
    "quality",
    "cost_usd",
    "latency_s",
    "reward",
    "regret",
    "apgr",
    "cpt50",
    "cpt80",
    "rcs",
    "spend_over_budget",
    "solved",
    "p95_latency_s",
    "below_floor",
)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a run is measured against.

    Attributes
    ----------
    arms
        Names: the edge first, then the others, a cascade last.
    budget_usd
        US dollars a query, or None.
    quality_floor
        Of the mean quality of any 500 queries in a row, or None.
    """

    arms: tuple[str, ...]
    scenario: Scenario
    budget_usd: float | None = None
    phases: tuple[Phase, ...] = ()
    quality_floor: float | None = None


def true_rewards(
    scenario: Scenario, quality: Floats, cost_usd: Floats, latency_s: Floats
) -> Floats:
    """`Scenario.reward` of whole matrices at once."""
    mes = 1.0 if scenario.mes is None else scenario.mes
    total = (
        scenario.w_quality * np.minimum(1.0, quality / mes)
        + scenario.w_cost * (1.0 - np.minimum(1.0, cost_usd / scenario.cost_ceiling_usd))
        + scenario.w_latency * (1.0 - np.minimum(1.0, latency_s / scenario.latency_ceiling_s))
    )
    return np.asarray(total)


def recovery_curve(
    advantage: NDArray[Any], edge: NDArray[Any], cloud: NDArray[Any]
) -> tuple[Floats, Floats]:
    """Performance gap recovered (PGR) against the share of cloud calls.

    Rounds go to the cloud in order of ``advantage``, largest first. Rounds with equal advantage are
    in random order: the curve is its expectation, a straight line across the tie.

    Returns
    -------
    share, pgr
        The corners of the piecewise linear curve, from (0, 0) to (1, 1); empty when the cloud is
        no better than the edge, so that there is no gap to recover.

    Examples
    --------
    >>> recovery_curve(np.array([2.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    (array([0. , 0.5, 1. ]), array([0., 1., 1.]))
    """
    known = np.isfinite(advantage)
    gains = (cloud.astype(np.float64) - edge.astype(np.float64))[known]
    total = float(gains.sum())
    if len(gains) == 0 or total <= 1e-9 * len(gains):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-advantage[known], kind="stable")
    ranked = advantage[known][order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    recovered = np.cumsum(gains[order])[ends] / total
    share = (ends + 1) / len(ranked)
    return np.concatenate([[0.0], share]), np.concatenate([[0.0], recovered])


def apgr(share: Floats, pgr: Floats) -> float | None:
    """Area under the recovery curve: 0.5 for a random order."""
    return float(np.trapezoid(pgr, share)) if len(share) else None


def cpt(share: Floats, pgr: Floats, level: float) -> float | None:
    """Least share of cloud calls at which ``level`` of the gap is recovered.

    Examples
    --------
    >>> cpt(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0]), 0.5)
    0.25
    """
    above = np.flatnonzero(pgr >= level)
    if not len(above):
        return None
    i = int(above[0])
    if i == 0:
        return float(share[0])
    fraction = (level - pgr[i - 1]) / (pgr[i] - pgr[i - 1])
    return float(share[i - 1] + fraction * (share[i] - share[i - 1]))


def solved(trace: Trace, scenario: Scenario) -> float:
    """Problem-solving probability (APSP): the share of answers that reach what is enough."""
    return float(np.mean(trace.quality >= least_score(scenario)))


def rcs(trace: Trace, scenario: Scenario) -> float:
    """Routing composite score [our definition, see the module].

    ``w_q APSP + w_c CA + w_l (1 - clip((AIL - AIL_min) / (AIL_max - AIL_min), 0, 1))`` with APSP
    the share of solved problems, CA the share answered at the edge, AIL the mean latency and its
    extremes those of the first and last arm alone.
    """
    return composite(
        scenario,
        solved=solved(trace, scenario),
        kept=float(np.mean(kept_at_edge(trace))),
        latency_s=float(trace.latency_s.mean()),
        alone_s=(float(trace.edge_s.mean()), float(trace.cloud_s.mean())),
    )


def least_score(scenario: Scenario) -> float:
    """Quality from which a problem counts as solved; a hair below, for scores that were rounded."""
    return (scenario.mes or PROBLEM_SOLVED) - 1e-6


def composite(
    scenario: Scenario,
    *,
    solved: float,
    kept: float,
    latency_s: float,
    alone_s: tuple[float, float],
) -> float:
    """`rcs` of its parts.

    Parameters
    ----------
    solved, kept
        APSP and CA, in [0, 1].
    alone_s
        Mean latency of the edge alone and of the cloud alone, in either order.

    Examples
    --------
    >>> half = Scenario("half", 0.5, 0.25, 0.25)
    >>> composite(half, solved=1.0, kept=0.5, latency_s=2.0, alone_s=(1.0, 3.0))
    0.75
    """
    low, high = sorted(alone_s)
    slow = 0.0 if high <= low else (latency_s - low) / (high - low)
    speed = 1.0 - min(1.0, max(0.0, slow))
    return scenario.w_quality * solved + scenario.w_cost * kept + scenario.w_latency * speed


def kept_at_edge(trace: Trace) -> NDArray[np.bool_]:
    """Rounds in which no arm but the first was asked."""
    return np.asarray((trace.arm == 0) | (trace.verdict == 1.0))


def measure(trace: Trace, yardstick: Yardstick) -> dict[str, Any]:
    """Every number of one window of one run; None where it does not exist."""
    share, pgr = recovery_curve(trace.advantage, trace.edge_quality, trace.cloud_quality)
    asked = {"asked_cloud": 1.0 - float(np.mean(kept_at_edge(trace)))}
    cost = float(trace.cost_usd.mean(dtype=np.float64))
    budget = yardstick.budget_usd
    return {
        "quality": float(trace.quality.mean(dtype=np.float64)),
        "cost_usd": cost,
        "latency_s": float(trace.latency_s.mean(dtype=np.float64)),
        "reward": float(trace.reward.mean(dtype=np.float64)),
        "regret": float((trace.best - trace.reward).mean(dtype=np.float64)),
        "share": {name: float(np.mean(trace.arm == j)) for j, name in enumerate(yardstick.arms)},
        "apgr": apgr(share, pgr),
        "cpt50": cpt(share, pgr, 0.5),
        "cpt80": cpt(share, pgr, 0.8),
        "rcs": rcs(trace, yardstick.scenario),
        "spend_over_budget": None if budget is None else cost / budget,
        "solved": solved(trace, yardstick.scenario),
        "p95_latency_s": float(np.quantile(trace.latency_s, 0.95)),
        "below_floor": below_floor(trace.quality, yardstick.quality_floor),
    } | (asked if CASCADE in yardstick.arms else {})


def below_floor(quality: NDArray[Any], floor: float | None, *, window: int = 500) -> float | None:
    """Share of windows of so many queries in a row whose mean quality is below ``floor``.

    Examples
    --------
    >>> below_floor(np.array([0.5, 1.0, 1.0]), 0.8, window=2)
    0.5
    """
    if floor is None or len(quality) < window:
        return None
    sums = np.concatenate([[0.0], np.cumsum(quality, dtype=np.float64)])
    means = (sums[window:] - sums[:-window]) / window
    return float(np.mean(means < floor))


def measure_windows(trace: Trace, yardstick: Yardstick) -> dict[str, Any]:
    """The whole run, its halves and its phases."""
    n = len(trace)
    phases = [(p, trace.window(p.start, min(p.end, n))) for p in yardstick.phases if p.start < n]
    return {
        "all": measure(trace, yardstick),
        "halves": [
            measure(trace.window(0, n // 2), yardstick) if n > 1 else measure(trace, yardstick),
            measure(trace.window(n // 2, n), yardstick),
        ],
        "phases": [
            {"name": p.name, "start": p.start, "end": min(p.end, n), **measure(part, yardstick)}
            for p, part in phases
        ],
    }


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """95 % percentile-bootstrap bounds of the mean; the value itself when there is only one.

    The resamples are the same in every run.

    Examples
    --------
    >>> bootstrap([0.5])
    (0.5, 0.5)
    """
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(0)
    means = data[rng.integers(len(data), size=(RESAMPLES, len(data)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def over_seeds(windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds of what `measure_windows` said of each, with bounds on quality."""
    first = windows[0]
    return {
        "all": _mean([w["all"] for w in windows]),
        "halves": [_mean([w["halves"][h] for w in windows]) for h in (0, 1)],
        "phases": [
            {name: phase[name] for name in ("name", "start", "end")}
            | _mean([w["phases"][i] for w in windows])
            for i, phase in enumerate(first["phases"])
        ],
    }


def _mean(measures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {"quality": _average([m["quality"] for m in measures])}
    out["quality_low"], out["quality_high"] = bootstrap([m["quality"] for m in measures])
    for name in NUMBERS[1:5]:
        out[name] = _average([m[name] for m in measures])
    out["share"] = {
        arm: _average([m["share"][arm] for m in measures]) for arm in measures[0]["share"]
    }
    for name in (*NUMBERS[5:], *(measures[0].keys() & {"asked_cloud"})):
        out[name] = _average([m[name] for m in measures])
    return out


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None
