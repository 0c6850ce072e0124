"""The price of money, from the log: every server counts the same bills in the same order.

A pacer's state at log position p is a function of its settings and of the outcomes up to p, so
servers that share a log arrive at the same price by themselves; nothing is agreed upon. The state
is stored now and then, for a server that starts to continue from.
"""

from collections.abc import Sequence
from functools import partial

from bandit.budget import Budget
from bandit.pacing import BudgetPacer, PacerConfig
from bandit.primitives import Arm, Prediction
from bandit.utility import Scenario
from feedback.ledger import Bill
from feedback.sql_ledger import SqlLedger
from serving.pacer_shelf import PacerShelf
from serving.purse import Tags, tags_of

_BATCH = 64


class PacerBoard:
    """One pacer for every budget that has a mean bill to keep.

    Parameters
    ----------
    gamma
        `PolicyConfig.gamma`.
    """

    def __init__(self, budgets: Sequence[Budget], ledger: SqlLedger, *, gamma: float) -> None:
        self._budgets = {b.name: b for b in budgets if b.usd_per_query is not None}
        self._ledger = ledger
        self._gamma = gamma
        self._shelf = PacerShelf(
            {name: partial(self._fresh, budget) for name, budget in self._budgets.items()}, ledger
        )
        self.pacers = self._shelf.pacers

    @property
    def positions(self) -> dict[str, int]:
        """Up to where in the log each has counted; empty before the first look."""
        return self._shelf.positions

    def priced(self, scenario: Scenario, arms: Sequence[Arm], tags: Tags) -> Scenario:
        """The scenario at the highest price of the budgets that cover ``tags``."""
        dearest = scenario
        for name, pacer in self.pacers.items():
            if self._budgets[name].covers(tags):
                found = pacer.priced(scenario, arms)
                dearest = max(dearest, found, key=lambda s: s.cost_price)
        return dearest

    async def advance(self) -> int:
        """Count the bills that were not counted yet; how many that were.

        Raises
        ------
        LogUnavailableError
        """
        if not self.pacers:
            return 0
        await self._shelf.open()
        n_bills = 0
        # Every batch is awaited for, so that queries are answered between two of them.
        while bills := await self._ledger.bills(min(self.positions.values()), _BATCH):
            for bill in bills:
                self._take(bill)
            n_bills += len(bills)
        return n_bills

    async def keep(self) -> None:
        """Store what has changed since the last time.

        Raises
        ------
        LogUnavailableError
        """
        await self._shelf.keep()

    def _take(self, bill: Bill) -> None:
        for name, position in self.positions.items():
            if bill.position > position:
                self._count(name, bill)
                self.positions[name] = bill.position

    def _count(self, name: str, bill: Bill) -> None:
        pacer, budget = self.pacers[name], self._budgets[name]
        if bill.cost_usd is None or not budget.covers(tags_of(bill.tags)):
            return
        if bill.forced:
            # It cost what it cost, but says nothing of what drawn arms cost.
            pacer.completed(Prediction((), (), bill.prediction.policy_version), bill.cost_usd)
            return
        # Token prices as they were then, so that the window's bills and prices belong together.
        pacer.priced(_ANY, bill.arms)
        pacer.completed(bill.prediction, bill.cost_usd)

    def _fresh(self, budget: Budget) -> BudgetPacer:
        return BudgetPacer(PacerConfig(budget.usd_per_query or 0.0, gamma=self._gamma))


_ANY = Scenario("any", 1.0, 0.0, 0.0)
