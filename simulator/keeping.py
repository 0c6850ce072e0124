"""What stays at the edge, and what each scenario got: queries, dollars, problems solved, speed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit.utility import Scenario
from simulator.clustering import Figure, Floats, Interval, Tally, from_zero, ratio
from simulator.counterfactual import Pool, add_policy
from simulator.ledger import Entry, Ledger
from simulator.metrics import composite, least_score


@dataclass(frozen=True, slots=True)
class Roles:
    """The arms that "always-edge" and "always-cloud" stand for: the most seen of their tier."""

    edge: str | None
    cloud: str | None


def roles_of(ledger: Ledger, pool: Pool) -> Roles:
    """The roles; None where no arm of that tier was ever seen."""
    counts = {name: int((pool.arm == j).sum()) for j, name in enumerate(pool.arms)}

    def most(tier: str) -> str | None:
        mine = [name for name, n in counts.items() if n and ledger.tier(name) == tier]
        return max(mine, key=lambda name: (counts[name], name), default=None)

    return Roles(most("edge"), most("cloud"))


def plain(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as JSON."""
    return None if interval is None else interval.to_dict()


def known(values: Sequence[float | None]) -> tuple[Floats, Floats]:
    """Values with 0 for None, and 1 where they are known."""
    numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    finite = np.isfinite(numbers)
    return np.where(finite, numbers, 0.0), finite.astype(np.float64)


def kept_at_edge(
    ledger: Ledger, pool: Pool, cloud: str | None, mask: Floats | None = None
) -> dict[str, Any]:
    """Share of queries answered at the edge, and of always-cloud's dollars that did not go there.

    Parameters
    ----------
    mask
        1 for the decisions that count, shape (n,); all when None.
    """
    tally = Tally(pool.cluster)
    weight = np.ones(len(pool.drawn)) if mask is None else mask
    queries = tally.interval(_share_at_edge(ledger, pool, tally, weight), within=True)
    dollars = None
    if cloud is not None and np.isfinite(pool.seen["cost_usd"]).any():
        paid, finite = known([_cloud_dollars(ledger, e) for e in pool.entries])
        cut = tally.add(np.stack([paid * weight, finite * weight], axis=1))
        would = add_policy(tally, pool, "cost_usd", pool.always(pool.arms.index(cloud)), mask)
        actual = ratio(cut.start, cut.start + 1)
        dollars = tally.interval(lambda totals: 1.0 - actual(totals) / would(totals))
    return {"queries": plain(queries), "dollars": plain(dollars)}


def scenario_rows(ledger: Ledger, pool: Pool, roles: Roles) -> list[dict[str, Any]]:
    """One row a scenario that decisions were drawn under."""
    names = np.array([e.decision.scenario.name for e in pool.entries])
    return [
        _scenario(ledger, pool, roles, (names == name).astype(np.float64))
        for name in sorted(set(names.tolist()))
    ]


def _scenario(ledger: Ledger, pool: Pool, roles: Roles, mask: Floats) -> dict[str, Any]:
    mine = [e for e, here in zip(pool.entries, mask.tolist(), strict=True) if here]
    scenario = mine[-1].decision.scenario
    tally = Tally(pool.cluster)
    solved = _solved(tally, pool, mask)
    kept = _share_at_edge(ledger, pool, tally, mask)
    timed = bool(np.isfinite(pool.seen["latency_s"]).any())
    latency = add_policy(tally, pool, "latency_s", None, mask)
    score = None
    if timed and roles.edge is not None and roles.cloud is not None:
        alone = [
            add_policy(tally, pool, "latency_s", pool.always(pool.arms.index(name)), mask)
            for name in (roles.edge, roles.cloud)
        ]
        score = _rcs(scenario, (solved, kept, latency), alone)
    return {
        "scenario": scenario.name,
        "decisions": len(mine),
        "judged": sum(e.record.quality is not None for e in mine),
        "minimal_score": scenario.mes,
        "problem_solving": plain(tally.interval(solved, within=True)),
        "cost_advantage": kept_at_edge(ledger, pool, roles.cloud, mask),
        "latency_s": plain(from_zero(tally, latency)) if timed else None,
        "rcs": plain(tally.interval(score)) if score else None,
    }


def _share_at_edge(ledger: Ledger, pool: Pool, tally: Tally, weight: Floats) -> Figure:
    at_edge = [float(ledger.tier(e.answered_by) == "edge") for e in pool.entries]
    cut = tally.add(np.stack([np.array(at_edge) * weight, weight], axis=1))
    return ratio(cut.start, cut.start + 1)


def _cloud_dollars(ledger: Ledger, entry: Entry) -> float | None:
    """What of the decision's bill went to the cloud."""
    outcome = entry.record.outcome
    if outcome is None or ledger.tier(entry.answered_by) != "cloud":
        return 0.0
    if outcome.cost_usd is None:
        return None
    first = outcome.gating.edge_cost_usd if outcome.gating is not None else None
    return max(0.0, outcome.cost_usd - (first or 0.0))


def _solved(tally: Tally, pool: Pool, mask: Floats) -> Figure:
    """Share of solved problems, each arm's judged answers standing for all of its answers."""
    k = len(pool.arms)
    own = np.eye(k)[pool.drawn] * mask[:, None]
    quality = pool.seen["quality"][pool.first]
    least = np.array([least_score(e.decision.scenario) for e in pool.entries])
    judged = np.isfinite(quality).astype(np.float64)
    right = np.where(judged > 0.0, quality >= least, 0.0)
    cut = tally.add(np.hstack([own, own * judged[:, None], own * right[:, None]]))

    def figure(totals: Floats) -> Floats:
        part = totals[..., cut]
        drawn, seen, good = (part[..., i * k : (i + 1) * k] for i in range(3))
        rate = np.where(drawn > 0.0, good / seen, 0.0)
        return np.asarray((drawn * rate).sum(axis=-1) / drawn.sum(axis=-1))

    return figure


def _rcs(scenario: Scenario, parts: tuple[Figure, ...], alone: Sequence[Figure]) -> Figure:
    def figure(totals: Floats) -> Floats:
        numbers = [np.atleast_1d(f(totals)) for f in (*parts, *alone)]
        scores = [
            composite(scenario, solved=s, kept=k, latency_s=t, alone_s=(a, b))
            if np.isfinite([s, k, t, a, b]).all()
            else np.nan
            for s, k, t, a, b in zip(*numbers, strict=True)
        ]
        return np.array(scores).reshape(totals.shape[:-1])

    return figure
