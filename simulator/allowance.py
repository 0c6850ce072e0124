"""A budget that changes at some rounds, such as what another run spent in each of its phases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bandit.pacing import BudgetPacer, PacerConfig
from bandit.primitives import Arm, Prediction
from bandit.utility import Scenario


@dataclass(frozen=True, slots=True)
class Allowance:
    """From round ``start`` on, ``usd`` a query."""

    start: int
    usd: float


class AllowancePacer:
    """A budget pacer whose budget is changed at some rounds, as an operator would.

    What was learned of bills stays; what was saved or owed does not go over into another budget.

    Parameters
    ----------
    allowances
        At least one, in the order of their rounds; the first holds from the beginning.
    config
        Everything but the budget.
    """

    def __init__(self, allowances: Sequence[Allowance], config: PacerConfig) -> None:
        self._config = config
        self._later = list(allowances)
        self._round = 0
        self._pacer = self._next()

    def _next(self) -> BudgetPacer:
        return BudgetPacer(replace(self._config, budget_usd=self._later.pop(0).usd))

    def priced(self, scenario: Scenario, arms: Sequence[Arm]) -> Scenario:
        """The scenario with the price of money in force."""
        return self._pacer.priced(scenario, arms)

    def completed(self, prediction: Prediction, cost_usd: float) -> None:
        """Count an answer and its bill."""
        self._pacer.completed(prediction, cost_usd)
        self._round += 1
        if self._later and self._round >= self._later[0].start:
            before = self._pacer.state()
            self._pacer = self._next()
            self._pacer.restore(before | {"balance_usd": 0.0})


def whole(phases: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the phases that follow one another; a part of another is left out.

    Parameters
    ----------
    phases
        As `simulator.metrics.measure_windows` has them.

    Examples
    --------
    >>> whole([{"start": a, "end": b} for a, b in ((0, 5), (3, 5), (5, 9))])
    [0, 2]
    """
    found: list[int] = []
    reached = 0
    for i, phase in enumerate(phases):
        if phase["start"] >= reached:
            found.append(i)
            reached = phase["end"]
    return found


def allowances_of(phases: Sequence[Mapping[str, Any]]) -> tuple[Allowance, ...]:
    """What a run spent a query in each of its whole phases."""
    return tuple(Allowance(phases[i]["start"], phases[i]["cost_usd"]) for i in whole(phases))
