"""What a cascade adds at every budget: edge or cloud by the query, by the answer, or by both."""

from dataclasses import replace

import numpy as np

from simulator.engine import run_study
from simulator.study import Study
from simulator.table import Floats

STAGED = ("pre-only[pacer=dual]", "always-cascade", "composed[pacer=dual]")
"""By the query, by the answer, by both; all of them kept to the budget in the same way."""
_COLUMNS = ("quality", "latency_s", "asked_cloud", "spend_over_budget")


def budget_of(study: Study, share: float) -> float:
    """What a random mix with that share of cloud answers costs, in US dollars a query."""
    edge, cloud = (float(study.table.cost_usd[:, j].mean()) for j in (0, len(study.arms) - 1))
    return edge + share * (cloud - edge)


def at_budget(study: Study, share: float, *, workers: int | None = None) -> dict[str, Floats]:
    """Per policy, what its second half came to at that budget.

    Returns
    -------
    Arrays of shape (seeds, 4): quality, seconds, share of queries that asked the cloud, and what
    was spent over the budget.
    """
    paced = replace(study, budget_usd=budget_of(study, share))
    runs = run_study(paced, workers=workers)
    return {
        label: np.array(
            [[run.windows["halves"][1][name] for name in _COLUMNS] for run in some],
            dtype=np.float64,
        )
        for label, some in runs.items()
    }


def oracle_quality(study: Study, budget_usd: float) -> float:
    """The most that edge or cloud can reach at that budget, knowing every score and bill."""
    table, last = study.table, len(study.arms) - 1
    gain = table.quality[:, last] - table.quality[:, 0]
    extra = np.maximum(1e-12, table.cost_usd[:, last] - table.cost_usd[:, 0])
    order = np.argsort(-gain / extra, kind="stable")
    room = budget_usd * len(table) - float(table.cost_usd[:, 0].sum())
    spent = np.cumsum(extra[order])
    useful = (spent <= room) & (gain[order] > 0.0)
    return float((table.quality[:, 0].sum() + gain[order][useful].sum()) / len(table))
