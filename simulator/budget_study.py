"""Spend over budget: standing still, from any starting price, and when an arm's price moves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from simulator.drift import NO_DRIFT, DriftPlan, Event, Phase
from simulator.engine import run_study
from simulator.study import Study


@dataclass(frozen=True, slots=True)
class Case:
    """One question: which arm's price moves in the middle third, and the first price of money.

    Attributes
    ----------
    arm
        Column of the arm; None moves nothing.
    """

    name: str
    arm: int | None = None
    times: float = 1.0
    start_price: float | None = None


CASES = (
    Case("stationary"),
    Case("from price 0", start_price=0.0),
    Case("from price 1e9", start_price=1e9),
    Case("dearest arm x10", -1, 10.0),
    Case("dearest arm /10", -1, 0.1),
    Case("middle arm x10", 1, 10.0),
)


@dataclass(frozen=True, slots=True)
class Spend:
    """What a case came to, over seeds: spend over budget of whole runs and of thirds; quality."""

    whole: tuple[float, ...]
    thirds: tuple[tuple[float, ...], ...]
    quality: float


def spend(
    study: Study, budgets: Mapping[str, float], *, workers: int | None = None
) -> Iterator[tuple[str, Case, Spend]]:
    """Every case at every budget, for the study's first policy."""
    for name, usd in budgets.items():
        for case in CASES:
            made = replace(
                study, budget_usd=usd, start_price=case.start_price, plan=_plan(study, case)
            )
            runs = run_study(made, workers=workers)[study.policies[0]]
            windows = [run.windows for run in runs]
            yield (
                name,
                case,
                Spend(
                    tuple(w["all"]["spend_over_budget"] for w in windows),
                    tuple(tuple(p["spend_over_budget"] for p in w["phases"]) for w in windows),
                    sum(w["all"]["quality"] for w in windows) / len(windows),
                ),
            )


def _plan(study: Study, case: Case) -> DriftPlan:
    third = study.rounds // 3
    ends = (0, third, 2 * third, study.rounds)
    phases = tuple(Phase(f"P{i + 1}", ends[i], ends[i + 1]) for i in range(3))
    if case.arm is None:
        return replace(NO_DRIFT, phases=phases)
    fields = {"arm": study.arms[case.arm], "times": case.times}
    event = Event("price", third, 2 * third, fields=fields)
    return DriftPlan(case.name, phases=phases, events=(event,))
