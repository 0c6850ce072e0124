"""A budget kept by the bills alone: for policies whose predictions do not say what they would cost.

Dual descent on the logarithm of the price (Balseiro and Gur, "Learning in repeated auctions with
budgets", 2019, with multiplicative steps): slower than `bandit.pacing`, which looks back upon
predictions, but the same for every policy, whatever it decides after its first stage.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from bandit.primitives import Arm, Prediction
from bandit.utility import Scenario

_STEP = 0.04
_SPAN = 12.0
"""How far the logarithm of the price may move either way."""


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

    @property
    def price(self) -> float:
        """In force, in reward per US dollar."""
        return 0.1 / self._budget_usd * math.exp(self._log)

    def priced(self, scenario: Scenario, arms: Sequence[Arm]) -> Scenario:  # noqa: ARG002 - the bills tell of prices soon enough
        """The scenario with the price of money in force."""
        return replace(scenario, cost_price=self.price)

    def completed(self, prediction: Prediction, cost_usd: float) -> None:  # noqa: ARG002 - only bills count
        """Count a bill."""
        ratio = cost_usd / self._budget_usd
        self._largest = max(self._largest, ratio)
        # Where a bill is worth many budgets, each moves the price less.
        step = _STEP / math.sqrt(1.0 + self._largest) * (ratio - 1.0)
        self._log = max(-_SPAN, min(_SPAN, self._log + step))
