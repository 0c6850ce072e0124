"""A budget pacer: the price of money at which a policy spends its budget, and no more.

"The mean bill is at most B dollars a query" has a Lagrange multiplier: a price in reward per US
dollar. To step it against every bill (dual descent; Balseiro and Gur, "Learning in repeated
auctions with budgets", 2019; Taberner-Miller, "ParetoBandit", 2026, arXiv 2604.00136) is slow where
arms differ 500-fold in cost, and shakes the choice where one bill is sixty budgets. So the price
is *solved for*: recent predictions say what would have been spent at any price, exploration
included (`bandit.outlook`). What was really billed moves only the target: through an account of
what is saved and owed, and through the ratio of bills to what was expected of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bandit.errors import BanditError
from bandit.outlook import DEAR, Outlook, Window
from bandit.primitives import Arm, Prediction
from bandit.utility import Scenario

_EAGER = 64
"""Predictions after each of which the price is found anew."""
_EVERY = 8
"""As many predictions lie between two solutions after that."""
_CHEAPEST = 1e-12
"""Least price: policies estimate costs only where money has one, or cost a weight."""
_LEAST = 0.3
"""Share of the budget that stays to be spent, whatever is owed."""


class BadPacerError(BanditError):
    """A pacer setting outside its range, or a bill that is none."""

    def __init__(self, name: str, value: object, want: str) -> None:
        super().__init__(f"pacer.{name} = {value!r}; want {want}")
        self.name = name


@dataclass(frozen=True, slots=True)
class PacerConfig:
    """Settings of a pacer. Only the budget has to be said.

    Attributes
    ----------
    budget_usd
        Mean US dollars a query.
    gamma
        How sharply the policy follows its predictions; `PolicyConfig.gamma`.
    window
        Predictions that are looked back upon.
    horizon
        Queries over which money owed is paid back, or money saved is spent, at least.
    horizon_bills
        The same in bills of the dearest arm, each of which is worth so many queries' budget: one
        draw of a dear arm is not to starve all that follow.
    savings
        The most that may be saved, in queries' worth of budget, at least. What a quiet time
        saved, a busy one may spend on top of its own.
    savings_bills
        The same in bills of the dearest arm; the buffer comes on top.
    buffer_bills
        Bills of the dearest arm that are kept saved: its next draw is paid already.
    start_price
        Price before anything was seen, in reward per US dollar; None pays .05, a gap of common
        size, for one query's budget.
    """

    budget_usd: float
    gamma: float = 20.0
    window: int = 128
    horizon: float = 40.0
    horizon_bills: float = 4.0
    savings: float = 20.0
    savings_bills: float = 1.5
    buffer_bills: float = 1.0
    start_price: float | None = None

    def __post_init__(self) -> None:
        for name in ("budget_usd", "gamma", "window", "horizon"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise BadPacerError(name, value, "a number above 0")
        for name in ("horizon_bills", "savings", "savings_bills", "buffer_bills", "start_price"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise BadPacerError(name, value, "a number of at least 0")


class _Ratio:
    """One running sum over another, both fading; 1 at first, for as long as ``weight`` lasts."""

    def __init__(self, *, decay: float, weight: float) -> None:
        self._decay = decay
        self._above = self._below = weight

    def add(self, above: float, below: float) -> None:
        self._above = self._decay * self._above + above
        self._below = self._decay * self._below + below

    def within(self, most: float) -> float:
        """The ratio, within a factor of ``most``."""
        return min(most, max(1.0 / most, self._above / self._below))

    def state(self) -> list[float]:
        return [self._above, self._below]

    def restore(self, state: Sequence[float]) -> None:
        self._above, self._below = state


class BudgetPacer:
    """Keeps the mean bill at the budget by putting a price on money.

    Ask `priced` before every decision, tell `completed` every answer, judged or not. Pure: no
    clock, no I/O, no randomness; the same answers in the same order give the same prices.

    Parameters
    ----------
    config
        The budget, and how it is held.

    Attributes
    ----------
    price
        In force, in reward per US dollar.
    balance_usd
        Saved (above 0) or owed.

    Examples
    --------
    >>> pacer = BudgetPacer(PacerConfig(budget_usd=0.001))
    >>> pacer.price
    50.0
    """

    def __init__(self, config: PacerConfig) -> None:
        self.config = config
        start = config.start_price
        self.price = max(_CHEAPEST, 0.05 / config.budget_usd if start is None else start)
        self.balance_usd = 0.0
        self._window = Window(config.window)
        self._prices: dict[str, float] = {}
        self._dearest_usd = 0.0
        # Expected spend over the target says how far the window lags behind what is predicted now;
        # it is quick, for an expectation has none of a bill's noise. Bills over it is slow.
        self._lag = _Ratio(decay=0.985, weight=10.0 * config.budget_usd)
        self._billed = _Ratio(decay=0.998, weight=100.0 * config.budget_usd)

    def priced(self, scenario: Scenario, arms: Sequence[Arm]) -> Scenario:
        """The scenario with the price of money in force: what to decide under, and to log.

        Parameters
        ----------
        arms
            The eligible ones. A token price that moved counts at once, also for the predictions
            that are looked back upon.
        """
        factors: dict[str, float] = {}
        for arm in arms:
            now, before = _token_price(arm), self._prices.get(arm.arm_id)
            if now != before:
                self._prices[arm.arm_id] = now
                if before and now:
                    factors[arm.arm_id] = now / before
        if factors:
            # Most of a cascade's bill is that of the arm which may answer instead.
            joined = {
                a.arm_id: factors[a.parts[-1]]
                for a in arms
                if a.parts[-1:] and a.parts[-1] in factors
            }
            factors |= joined
            self._window.reprice(factors)
            self._solve()
        if scenario.cost_price == self.price:
            return scenario
        return replace(scenario, cost_price=self.price)

    def completed(self, prediction: Prediction, cost_usd: float) -> None:
        """Count an answer: what was predicted when it was decided, and its bill.

        Raises
        ------
        BadPacerError
            If the bill is not a finite number of at least 0; nothing is counted then.
        """
        if not (math.isfinite(cost_usd) and cost_usd >= 0.0):
            raise BadPacerError("cost_usd", cost_usd, "a finite bill of at least 0")
        config = self.config
        dearest = self._dearest_usd
        most = max(config.savings * config.budget_usd, config.savings_bills * dearest)
        most += config.buffer_bills * dearest
        self.balance_usd = min(self.balance_usd + config.budget_usd - cost_usd, most)
        before = self._window.n_seen
        self._window.add(prediction)
        if self._window.n_seen == before:
            return
        expected = expected_usd(prediction)
        self._lag.add(expected, self._target_usd())
        self._billed.add(cost_usd, expected)
        if before < _EAGER or before % _EVERY == 0:
            self._solve()

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to continue exactly from here, JSON-ready."""
        return {
            "price": self.price,
            "balance_usd": self.balance_usd,
            "dearest_usd": self._dearest_usd,
            "prices": dict(self._prices),
            "lag": self._lag.state(),
            "billed": self._billed.state(),
            "window": self._window.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the pacer that was saved; its settings stay its own.

        Raises
        ------
        BadPacerError
            If the state is not one; the pacer must not be used then.
        """
        try:
            self.price, self.balance_usd = float(state["price"]), float(state["balance_usd"])
            self._dearest_usd = float(state["dearest_usd"])
            self._prices = {str(arm): float(p) for arm, p in state["prices"].items()}
            self._lag.restore(state["lag"])
            self._billed.restore(state["billed"])
            self._window.restore(state["window"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadPacerError("state", repr(error), "what state() gave") from error

    def _solve(self) -> None:
        outlook: Outlook | None = self._window.outlook()
        if outlook is None:
            return
        self._dearest_usd = outlook.dearest_usd()
        target = self._target_usd() / (self._lag.within(4.0) * self._billed.within(2.0))
        self.price = outlook.price(target, self.config.gamma / outlook.gap())

    def _target_usd(self) -> float:
        budget = self.config.budget_usd
        horizon = max(self.config.horizon, self.config.horizon_bills * self._dearest_usd / budget)
        spare = self.balance_usd - self.config.buffer_bills * self._dearest_usd
        return max(_LEAST * budget, budget + spare / horizon)


def expected_usd(prediction: Prediction) -> float:
    """The bill that a draw from the prediction is expected to bring; unknown ones count nothing."""
    pairs = zip(prediction.pmf, prediction.estimates, strict=False)
    return sum(p * (e.cost_usd or 0.0) for p, e in pairs)


def affordable_floor(floor: float, charges: Sequence[float], gap: float) -> float:
    """The exploration floor, the lower the more the arms' charges differ.

    A floor of 2 % under an arm that costs sixty budgets a query would by itself spend more than the
    budget. So it falls with the spread of the charges, counted in typical gaps of utility, and
    with its square where that is large: there each draw is a risk, and not the mean alone counts.

    Parameters
    ----------
    charges
        Price of money times expected bill, by arm.
    gap
        Typical distance of two arms in utility, above 0.

    Examples
    --------
    >>> affordable_floor(0.02, [0.0, 0.0], 0.5)
    0.02
    >>> affordable_floor(0.022, [0.25, 2.75], 0.5)
    0.002
    """
    dearer = (max(charges) - min(charges)) / gap
    return floor / (1.0 + dearer * (1.0 + dearer / DEAR))


def lowered(values: Sequence[float], charges: Sequence[float], gap: float) -> list[float]:
    """``values`` with arms set further below the best the more they are charged beyond it.

    Inverse-gap weighting alone spends the same on exploring an arm however dear it is, for its
    probability falls as its bill grows: at last a few bills, each worth hundreds of queries.

    Parameters
    ----------
    values
        Utility less charge, by arm.
    charges, gap
        As for `affordable_floor`.

    Examples
    --------
    >>> lowered([0.5, -2.0], [0.0, 2.5], 0.5)
    [0.5, -4.5]
    """
    best = max(range(len(values)), key=values.__getitem__)
    top, least, unit = values[best], charges[best], DEAR * gap
    return [
        top - (top - value) * (1.0 + max(0.0, charge - least) / unit)
        for value, charge in zip(values, charges, strict=True)
    ]


def _token_price(arm: Arm) -> float:
    return (arm.price_in or 0.0) + (arm.price_out or 0.0)
