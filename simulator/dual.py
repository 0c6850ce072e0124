"""A budget kept by the bills alone: for policies whose predictions do not say what they would cost.

Dual descent on the logarithm of the price (Balseiro and Gur, "Learning in repeated auctions with
budgets", 2019, with multiplicative steps), and a second term that repays debts: while a policy
learns, the price that it needs moves, and the first alone would lag behind it, each policy's by as
much as its own price moves. Slower than `bandit.pacing`, which looks back upon predictions, but the
same for every policy, whatever it decides after its first stage.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from bandit.primitives import Arm, Prediction
from bandit.utility import Scenario

_STEP = 0.1
_LEAST_CHARGE = 0.01
"""What the dearest arm is charged at the lowest price, in reward: next to nothing."""
_HIGHEST = 12.0
"""How far the logarithm of the price may rise."""
_REPAID = 100.0
"""Bills over which a debt is repaid."""
_MOST_DEBT, _MOST_BILLS = 50.0, 10.0
"""Budgets, and largest bills expected, that are owed at most: what is more is forgiven."""
_KEEP = 0.98
"""What a bill's weight becomes with every later one, where bills are held against forecasts."""


class Pacer(Protocol):
    """Whatever prices money: `bandit.pacing.BudgetPacer`, or `DualPacer`."""

    def priced(self, scenario: Scenario, arms: Sequence[Arm]) -> Scenario:
        """The scenario with the price of money in force."""

    def completed(self, prediction: Prediction, cost_usd: float) -> None:
        """Count an answer and its bill."""


class DualPacer:
    """Raises the price of money after every bill above the budget, lowers it after one below.

    Examples
    --------
    >>> pacer = DualPacer(0.5)
    >>> pacer.completed(Prediction((), (), ""), 1.0)
    >>> pacer.price > 0.1 / 0.5
    True
    """

    def __init__(self, budget_usd: float) -> None:
        self._budget_usd = budget_usd
        self._log = 0.0
        self._largest = 0.0
        self._debt = 0.0
        self._paid = self._foretold = 10.0

    @property
    def price(self) -> float:
        """In force, in reward per US dollar."""
        return 0.1 / self._budget_usd * math.exp(self._log)

    def priced(self, scenario: Scenario, arms: Sequence[Arm]) -> Scenario:  # noqa: ARG002 - the bills tell of prices soon enough
        """The scenario with the price of money in force."""
        return replace(scenario, cost_price=self.price)

    def completed(self, prediction: Prediction, cost_usd: float) -> None:
        """Count a bill."""
        over = cost_usd / self._budget_usd - 1.0
        most = min(_MOST_DEBT, _MOST_BILLS * self._largest)
        self._debt = max(-most, min(most, self._debt + over))
        expected = _expected_usd(prediction, cost_usd) / self._budget_usd
        # What is foretold counts as far as it came true.
        self._foretold = _KEEP * self._foretold + expected
        self._paid = _KEEP * self._paid + over + 1.0
        expected *= self._paid / max(1e-9, self._foretold)
        self._largest = max(self._largest, expected)
        # Where a bill is worth many budgets, each moves the price less.
        step = _STEP / math.sqrt(1.0 + self._largest)
        log = self._log + step * (expected - 1.0 + self._debt / _REPAID)
        self._log = max(self._lowest(prediction, cost_usd), min(_HIGHEST, log))
        if self._log != log:
            # No price could have kept the budget: there is nothing to make up for.
            self._debt = 0.0

    def _lowest(self, prediction: Prediction, cost_usd: float) -> float:
        """The least logarithm of the price: from below it, the way back up would be long."""
        known = (e.cost_usd for e in prediction.estimates if e.cost_usd is not None)
        dearest = max(cost_usd, self._budget_usd, *known)
        return math.log(_LEAST_CHARGE / (0.1 * dearest / self._budget_usd))


def _expected_usd(prediction: Prediction, cost_usd: float) -> float:
    """What a prediction expected to pay; the bill itself where it had no idea."""
    total = 0.0
    for p, estimate in zip(prediction.pmf, prediction.estimates, strict=False):
        if p > 0.0:
            if estimate.cost_usd is None:
                return cost_usd
            total += p * estimate.cost_usd
    return total if prediction.estimates else cost_usd
