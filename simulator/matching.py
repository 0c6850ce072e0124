"""Rivals compared at their own spend: ours runs again with what each of them really spent.

Whoever leaves half of a budget unspent, or spends three, is not compared by reward alone. So our
policy meets the same queries under the same seed once more, its pacer told phase by phase what the
rival spent there; differences are then taken seed by seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulator.allowance import allowances_of, whole
from simulator.engine import Run, Task, run_tasks
from simulator.metrics import bootstrap
from simulator.study import Study


@dataclass(frozen=True, slots=True)
class Difference:
    """One phase: our mean reward less a rival's over seeds, with 95 % bounds, and both spends."""

    phase: str
    reward: float
    low: float
    high: float
    rival_usd: float
    own_usd: float


def match(
    study: Study, label: str, rivals: Mapping[str, Sequence[Run]], *, workers: int | None = None
) -> dict[str, list[Difference]]:
    """``label`` against every rival at the rival's spend, phase by phase.

    Parameters
    ----------
    rivals
        Their runs in this study, one for each seed.
    """
    runs = [run for some in rivals.values() for run in some]
    tasks = [Task(label, run.seed, allowances=allowances_of(run.windows["phases"])) for run in runs]
    own = dict(
        zip(((r.label, r.seed) for r in runs), run_tasks(study, tasks, workers), strict=True)
    )
    return {
        name: _differences(some, [own[run.label, run.seed] for run in some])
        for name, some in rivals.items()
    }


def _differences(rival: Sequence[Run], own: Sequence[Run]) -> list[Difference]:
    found = []
    phases = rival[0].windows["phases"]
    for i in whole(phases):
        theirs = [run.windows["phases"][i] for run in rival]
        ours = [run.windows["phases"][i] for run in own]
        rewards = [a["reward"] - b["reward"] for a, b in zip(ours, theirs, strict=True)]
        found.append(
            Difference(
                phases[i]["name"],
                sum(rewards) / len(rewards),
                *bootstrap(rewards),
                rival_usd=sum(p["cost_usd"] for p in theirs) / len(theirs),
                own_usd=sum(p["cost_usd"] for p in ours) / len(ours),
            )
        )
    return found
