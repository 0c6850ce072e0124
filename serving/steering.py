"""Objectives in the running service: late answers and judged quality, priced from the log.

As `serving.pacing` does for budgets, every server counts the same answers and the same judgements
in the order of their positions, and so arrives at the same prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bandit.objectives import LatencyObjective, LatencyPacer, QualityFloor, QualityPacer
from bandit.primitives import Prediction
from bandit.utility import Scenario
from feedback.ledger import Bill, Judgement
from feedback.reward import normalise
from feedback.sql_ledger import SqlLedger
from serving.pacer_shelf import PacerShelf

_BATCH = 64
# No budget can have such a name, so both kinds share a table.
_LATENCY, _QUALITY = "@p95_latency_s", "@quality_floor"


@dataclass(frozen=True, slots=True)
class Aim:
    """How an objective stands.

    Attributes
    ----------
    name
        As in the settings.
    price
        In reward, for one late answer or for judged quality from 0 to 1.
    balance
        Late answers, or quality summed over answers, that are saved (above 0) or owed.
    position
        Up to where in the log it has counted; None before the first look.
    """

    name: str
    target: float
    price: float
    balance: float
    position: int | None


class ObjectiveBoard:
    """Keeps a latency objective and a quality floor; either may be None.

    Parameters
    ----------
    metrics
        Whose judgements count towards the floor.
    """

    def __init__(
        self,
        latency: LatencyObjective | None,
        floor: QualityFloor | None,
        ledger: SqlLedger,
        *,
        metrics: Sequence[str],
    ) -> None:
        self._ledger = ledger
        self._metrics = tuple(metrics)
        self._latency = PacerShelf(
            {} if latency is None else {_LATENCY: lambda: LatencyPacer(latency)}, ledger
        )
        self._quality = PacerShelf(
            {} if floor is None else {_QUALITY: lambda: QualityPacer(floor)}, ledger
        )

    def priced(self, scenario: Scenario) -> Scenario:
        """The scenario at the prices in force: what to decide under, and to log."""
        for late in self._latency.pacers.values():
            scenario = late.priced(scenario)
        for good in self._quality.pacers.values():
            scenario = good.priced(scenario)
        return scenario

    async def advance(self) -> int:
        """Count what was not counted yet; how many answers and judgements that were.

        Raises
        ------
        LogUnavailableError
        """
        return await self._advance_latency() + await self._advance_quality()

    async def keep(self) -> None:
        """Store what has changed since the last time.

        Raises
        ------
        LogUnavailableError
        """
        await self._latency.keep()
        await self._quality.keep()

    def aims(self) -> list[Aim]:
        """How every objective stands now."""
        at = {**self._latency.positions, **self._quality.positions}
        late = [
            Aim(name[1:], p.objective.p95_latency_s, p.price, p.balance, at.get(name))
            for name, p in self._latency.pacers.items()
        ]
        good = [
            Aim(name[1:], p.floor.quality, p.price, p.balance, at.get(name))
            for name, p in self._quality.pacers.items()
        ]
        return late + good

    async def _advance_latency(self) -> int:
        n, shelf = 0, self._latency
        await shelf.open()
        for name, pacer in shelf.pacers.items():
            # Every batch is awaited for, so that queries are answered between two of them.
            while bills := await self._ledger.bills(shelf.positions[name], _BATCH):
                for bill in bills:
                    if bill.latency_s is not None:
                        pacer.completed(_counted(bill), bill.scenario, bill.latency_s)
                shelf.positions[name] = bills[-1].position
                n += len(bills)
        return n

    async def _advance_quality(self) -> int:
        n, shelf = 0, self._quality
        await shelf.open()
        for name, pacer in shelf.pacers.items():
            at = shelf.positions
            while found := await self._ledger.judgements(at[name], _BATCH, metrics=self._metrics):
                for one in found:
                    quality = normalise(one.metric, one.value)
                    pacer.judged(_counted(one), one.scenario, quality)
                at[name] = found[-1].position
                n += len(found)
        return n


def _counted(row: Bill | Judgement) -> Prediction:
    """What was predicted; nothing for an answer that was not of the arm drawn: it merely counts."""
    return Prediction((), (), row.prediction.policy_version) if row.forced else row.prediction
