"""Whether routing pays: what was served against single models and every mix of them.

The bar is the hull of single models ("Zero router"): whoever sends queries to models at random
reaches every point on it (Hu et al., "RouterBench", 2024, arXiv 2403.12031). Two figures are held
against it. *At the point where it ran*: quality served, less the hull's at the same cost. And *over
all prices of money* (AIQ): choosing ``argmax q̂ - λ ĉ`` by what the policy had estimated when it
decided, valued for λ from 0 to infinity, the mean height of that curve between the cheapest and the
dearest model, less the hull's. Our curve is not made convex, though mixing could: the highest of
noisy points would be ours, and that advantage is the hull's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bandit.primitives import Estimate
from simulator.clustering import Floats, Interval, Tally, from_zero
from simulator.counterfactual import Pool, Worth, add_policy, difference

_STEPS = 9
Curve = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Point:
    """A way of choosing: quality, US dollars and seconds a query, where they are known."""

    quality: Interval | None
    cost_usd: Interval | None
    latency_s: Interval | None


@dataclass(frozen=True, slots=True)
class SingleModel:
    """One arm alone.

    Attributes
    ----------
    below, saved
        Quality of what was served less this arm's; US dollars a query that it costs more.
    n_judged
        Judged answers of it that were seen.
    n_absent
        Decisions in which it was not eligible; there it is taken to do what the log did.
    """

    arm: str
    point: Point
    below: Interval | None
    saved: Interval | None
    n_seen: int
    n_judged: int
    n_absent: int


@dataclass(frozen=True, slots=True)
class Earning:
    """What was served against single models; all of drawn decisions.

    Attributes
    ----------
    corners
        Names of the models on the hull, cheapest first.
    hull, gap
        The hull's quality at the cost of what was served, and how far above it that is.
    aiq, aiq_hull, aiq_gap
        Mean quality over costs of the router's curve, of the hull, and their difference.
    curve
        Cost and quality of the router's curve, dearest point first.
    """

    served: Point
    singles: tuple[SingleModel, ...]
    corners: tuple[str, ...] = ()
    hull: Interval | None = None
    gap: Interval | None = None
    aiq: Interval | None = None
    aiq_hull: Interval | None = None
    aiq_gap: Interval | None = None
    curve: tuple[tuple[float, float], ...] = ()


def earning_of(pool: Pool, singles: Sequence[str]) -> Earning:
    """The comparison.

    Parameters
    ----------
    singles
        The arms that are one model each; those that were never drawn are left out.
    """
    tally = Tally(pool.cluster)
    quality, cost = (add_policy(tally, pool, m, None) for m in ("quality", "cost_usd"))
    models = [_single(pool, tally, arm, (quality, cost)) for arm in singles if arm in pool.arms]
    models = [model for model in models if model.n_seen]
    served = point_of(pool, tally, None)
    found = Earning(served, tuple(models))
    if served.cost_usd is None or served.quality is None:
        return found
    known = [m for m in models if m.point.quality is not None and m.point.cost_usd is not None]
    parts = [
        tuple(add_policy(tally, pool, m, pool.always(pool.arms.index(model.arm)))
              for m in ("cost_usd", "quality"))
        for model in known
    ]  # fmt: skip
    costs = [model.point.cost_usd.value for model in known if model.point.cost_usd]
    if len(known) < 2 or max(costs) - min(costs) <= 1e-12:
        return found
    return _against_hull(found, pool, tally, served=(quality, cost), known=known, parts=parts)


def point_of(pool: Pool, tally: Tally, target: Floats | None) -> Point:
    """Quality, cost and latency of one way of choosing."""
    quality, cost, latency = (
        add_policy(tally, pool, m, target) for m in ("quality", "cost_usd", "latency_s")
    )
    return Point(
        tally.interval(quality, within=True) if np.isfinite(pool.seen["quality"]).any() else None,
        from_zero(tally, cost) if np.isfinite(pool.seen["cost_usd"]).any() else None,
        from_zero(tally, latency) if np.isfinite(pool.seen["latency_s"]).any() else None,
    )


def _single(pool: Pool, tally: Tally, arm: str, served: tuple[Worth, Worth]) -> SingleModel:
    column = pool.arms.index(arm)
    target = pool.always(column)
    quality, cost = (add_policy(tally, pool, m, target) for m in ("quality", "cost_usd"))
    mine = pool.arm == column
    n_judged = int(np.isfinite(pool.seen["quality"][mine]).sum())
    priced = bool(np.isfinite(pool.seen["cost_usd"][mine]).any())
    return SingleModel(
        arm,
        point_of(pool, tally, target),
        tally.interval(difference(served[0], quality)) if n_judged else None,
        tally.interval(difference(cost, served[1])) if priced else None,
        int(mine.sum()),
        n_judged,
        int((pool.pmf[:, column] <= 0.0).sum()),
    )


def _against_hull(
    found: Earning,
    pool: Pool,
    tally: Tally,
    *,
    served: tuple[Worth, Worth],
    known: Sequence[SingleModel],
    parts: Sequence[tuple[Worth, ...]],
) -> Earning:
    quality, cost = served

    def models(totals: Floats) -> tuple[Floats, Floats]:
        costs, qualities = zip(*((c(totals), q(totals)) for c, q in parts), strict=True)
        return np.stack(costs, axis=-1), np.stack(qualities, axis=-1)

    def level(totals: Floats) -> Floats:
        return hull_at(*models(totals), cost(totals))

    values = [(m.point.cost_usd.value, m.point.quality.value, m.arm) for m in known
              if m.point.cost_usd and m.point.quality]  # fmt: skip
    curve = router_curve(pool, tally)
    more: dict[str, Interval | None] = {}
    shown: tuple[tuple[float, float], ...] = ()
    if curve is not None:

        def router(totals: Floats) -> Floats:
            costs, _ = models(totals)
            return area(*curve(totals), costs.min(axis=-1), costs.max(axis=-1))

        def zero(totals: Floats) -> Floats:
            return hull_area(*models(totals))

        more = {
            "aiq": tally.interval(router),
            "aiq_hull": tally.interval(zero),
            "aiq_gap": tally.interval(difference(router, zero)),
        }
        shown = _shown(tally, curve)
    return Earning(
        found.served,
        found.singles,
        corners(values),
        tally.interval(level),
        tally.interval(difference(quality, level)),
        more.get("aiq"),
        more.get("aiq_hull"),
        more.get("aiq_gap"),
        shown,
    )


def _shown(tally: Tally, curve: Curve) -> tuple[tuple[float, float], ...]:
    with np.errstate(invalid="ignore", divide="ignore"):
        costs, qualities = curve(tally.totals())
    if not np.isfinite([costs, qualities]).all():
        return ()
    return tuple(zip(costs.tolist(), qualities.tolist(), strict=True))


def corners(models: Sequence[tuple[float, float, str]]) -> tuple[str, ...]:
    """Which of (cost, quality, name) are corners of the non-decreasing hull, cheapest first.

    Examples
    --------
    >>> corners([(0.0, 0.5, "a"), (1.0, 0.6, "b"), (2.0, 0.9, "c"), (3.0, 0.8, "d")])
    ('a', 'c')
    """
    kept: list[tuple[float, float, str]] = []
    for model in sorted(models, key=lambda m: (m[0], -m[1])):
        if kept and model[1] <= kept[-1][1]:
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-2], model):
            kept.pop()
        kept.append(model)
    return tuple(name for _, _, name in kept)


def _slope(first: tuple[float, float, str], second: tuple[float, float, str]) -> float:
    return (second[1] - first[1]) / max(second[0] - first[0], 1e-300)


def hull_at(cost: Floats, quality: Floats, at: Floats) -> Floats:
    """Best quality that a mix of models reaches at a mean cost of at most ``at``.

    Parameters
    ----------
    cost, quality
        Shape (..., k).
    at
        Shape (...); below the cheapest model it is taken for its cost.

    Examples
    --------
    >>> hull_at(np.array([0.0, 1.0]), np.array([0.5, 0.9]), np.array(0.5)).item()
    0.7
    """
    k = cost.shape[-1]
    limit = np.maximum(at, cost.min(axis=-1))
    best = np.where(cost <= limit[..., None] + 1e-15, quality, -np.inf).max(axis=-1)
    for a in range(k):
        for b in range(k):
            gap = cost[..., b] - cost[..., a]
            inside = (gap > 0.0) & (cost[..., a] <= limit) & (limit <= cost[..., b])
            share = (limit - cost[..., a]) / np.where(gap > 0.0, gap, 1.0)
            mixed = (1.0 - share) * quality[..., a] + share * quality[..., b]
            best = np.where(inside, np.maximum(best, mixed), best)
    return np.asarray(best)


def hull_area(cost: Floats, quality: Floats, *, n: int = 100) -> Floats:
    """Mean height of the hull between the cheapest and the dearest model, shape (...)."""
    low, high = cost.min(axis=-1)[..., None], cost.max(axis=-1)[..., None]
    at = low + (high - low) * (np.arange(n) + 0.5) / n
    return np.asarray(hull_at(cost[..., None, :], quality[..., None, :], at).mean(axis=-1))


def area(cost: Floats, quality: Floats, low: Floats, high: Floats) -> Floats:
    """Mean height of a curve, given from its dearest point to its cheapest, from low to high cost.

    Dearer than its dearest point it goes on level: what can be had for less can be had for more.
    """
    between = ((cost[..., :-1] - cost[..., 1:]) * (quality[..., :-1] + quality[..., 1:])).sum(-1)
    ends = (high - cost[..., 0]) * quality[..., 0] + (cost[..., -1] - low) * quality[..., -1]
    return np.asarray((0.5 * between + ends) / (high - low))


def router_curve(pool: Pool, tally: Tally) -> Curve | None:
    """Cost and quality of choosing ``argmax q̂ - λ ĉ``, from λ = 0 up; None without estimates."""
    quality, cost = _estimates(pool)
    if not np.isfinite(quality).any(axis=1).all():
        return None
    parts = []
    for price in _prices(quality, cost):
        target = _choose(quality, cost, price)
        parts.append([add_policy(tally, pool, m, target) for m in ("cost_usd", "quality")])

    def figure(totals: Floats) -> tuple[Floats, Floats]:
        costs, qualities = zip(*((c(totals), q(totals)) for c, q in parts), strict=True)
        return np.stack(costs, axis=-1), np.stack(qualities, axis=-1)

    return figure


def _estimates(pool: Pool) -> tuple[Floats, Floats]:
    """What the policy expected of every eligible arm when it decided, shape (n, k); else NaN."""
    shape = pool.pmf.shape
    quality, cost = np.full(shape, np.nan), np.full(shape, np.nan)
    column = {name: j for j, name in enumerate(pool.arms)}
    for i, entry in enumerate(pool.entries):
        prediction = entry.decision.prediction
        for name, estimate in zip(prediction.arms, prediction.estimates, strict=False):
            quality[i, column[name]] = _quality(estimate)
            cost[i, column[name]] = np.nan if estimate.cost_usd is None else estimate.cost_usd
    # What the policy did not estimate of cost, it had seen: the log's mean for the arm.
    cost = np.where(np.isfinite(cost), cost, pool.model["cost_usd"])
    return quality, cost


def _quality(estimate: Estimate) -> float:
    return estimate.utility if estimate.quality is None else estimate.quality


def _prices(quality: Floats, cost: Floats) -> list[float]:
    """Prices of money that move choices: 0, deciles of the gain a dollar that is seen, infinity."""
    rows = np.arange(len(quality))
    best = np.nanargmax(quality, axis=1)
    cheap = np.nanargmin(np.where(np.isfinite(quality), cost, np.inf), axis=1)
    gain = quality[rows, best] - quality[rows, cheap]
    dearer = cost[rows, best] - cost[rows, cheap]
    moved = (gain > 0.0) & (dearer > 1e-15)
    rates = gain[moved] / dearer[moved]
    inner = np.quantile(rates, np.arange(1, _STEPS + 1) / (_STEPS + 1)) if len(rates) else []
    return [0.0, *map(float, inner), np.inf]


def _choose(quality: Floats, cost: Floats, price: float) -> Floats:
    """The pmf of the arm with the best ``q̂ - λ ĉ``, shape (n, k); ties go to the cheaper."""
    able = np.isfinite(quality)
    if np.isinf(price):
        score = np.where(able, -cost, -np.inf)
    else:
        score = np.where(able, quality - price * cost, -np.inf)
        top = score.max(axis=1, keepdims=True)
        score = np.where(score >= top - 1e-12, -cost, -np.inf)
    return np.asarray(np.eye(quality.shape[1])[score.argmax(axis=1)])
