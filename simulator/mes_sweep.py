"""How the share of the edge falls as more is expected of an answer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.engine import run_study
from simulator.metrics import bootstrap
from simulator.plots import line_chart
from simulator.study import Study


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds with its 95 % bounds."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a policy came to in the second half of its rounds under one MES (None: no MES)."""

    mes: float | None
    edge_share: Spread
    solved: Spread
    quality: Spread
    rcs: Spread
    cost_usd: Spread


def sweep(
    study: Study,
    values: Sequence[float | None],
    *,
    workers: int | None = None,
    on_done: Callable[[float | None], None] = lambda _: None,
) -> list[Expectation]:
    """The study's first policy under every MES, all else alike."""
    (label,) = study.policies
    found = []
    for mes in values:
        runs = run_study(replace(study, scenario=replace(study.scenario, mes=mes)), workers=workers)
        halves = [run.windows["halves"][1] for run in runs[label]]
        found.append(
            Expectation(
                mes,
                edge_share=_spread([half["share"][study.arms[0]] for half in halves]),
                solved=_spread([half["solved"] for half in halves]),
                quality=_spread([half["quality"] for half in halves]),
                rcs=_spread([half["rcs"] for half in halves]),
                cost_usd=_spread([half["cost_usd"] for half in halves]),
            )
        )
        on_done(mes)
    return found


def _spread(values: Sequence[float]) -> Spread:
    return Spread(math.fsum(values) / len(values), *bootstrap(values))


def largest_rise(found: Sequence[Expectation]) -> float:
    """The most that the edge's share rises from one MES to the next, more demanding one.

    0 where it falls all the way, as it should: who expects more leaves less to the edge.
    """
    shares = [e.edge_share.mean for e in found]
    return max(0.0, *np.diff(shares).tolist()) if len(shares) > 1 else 0.0


def draw(found: Sequence[Expectation], title: str, kind: str) -> bytes:
    """The sweep as a picture, ``svg`` or ``png``."""
    rated = [e for e in found if e.mes is not None]
    lines = {
        "share at the edge": [e.edge_share for e in rated],
        "solved": [e.solved for e in rated],
        "RCS": [e.rcs for e in rated],
    }
    return line_chart(
        [e.mes or 0.0 for e in rated],
        {name: [(s.mean, s.low, s.high) for s in spreads] for name, spreads in lines.items()},
        title=title,
        x_label="minimal expectation score",
        kind=kind,
    )
