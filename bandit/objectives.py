"""Objectives that are kept by a price: answers that come late, and judged quality with a floor.

"At most one answer in twenty comes later than five seconds" and "judged quality is at least .9" are
budgets too: of lateness, and of quality that is missing. So both are kept as `bandit.pacing` keeps
a budget of dollars, with a price that is solved for.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bandit.pacing import BadPacerError, BudgetPacer, PacerConfig
from bandit.primitives import Estimate, Prediction
from bandit.utility import Scenario, lateness

_QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class LatencyObjective:
    """The 95th percentile of latency is at most ``p95_latency_s`` seconds.

    Attributes
    ----------
    gamma
        `PolicyConfig.gamma`.
    """

    p95_latency_s: float
    gamma: float = 20.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.p95_latency_s) and self.p95_latency_s > 0.0):
            raise BadPacerError("p95_latency_s", self.p95_latency_s, "a number of seconds above 0")


@dataclass(frozen=True, slots=True)
class QualityFloor:
    """Mean judged quality over any ``window`` judgements is at least ``quality``.

    Attributes
    ----------
    quality
        In (0, 1).
    gamma
        `PolicyConfig.gamma`.
    window
        Judgements over which the mean is taken.
    margin
        Standard deviations of such a mean that are aimed above the floor: 2.33 leave a hundredth of
        the windows below it if answers are independent.
    """

    quality: float
    gamma: float = 20.0
    window: int = 500
    margin: float = 2.33

    def __post_init__(self) -> None:
        if not 0.0 < self.quality < 1.0:
            raise BadPacerError("quality", self.quality, "a number in (0, 1)")
        if self.window < 1:
            raise BadPacerError("window", self.window, "a number of judgements of at least 1")
        if not (math.isfinite(self.margin) and self.margin >= 0.0):
            raise BadPacerError("margin", self.margin, "a number of at least 0")


class LatencyPacer:
    """Keeps late answers at one in twenty by a price on lateness; used as `BudgetPacer` is.

    Examples
    --------
    >>> pacer = LatencyPacer(LatencyObjective(p95_latency_s=5.0))
    >>> round(pacer.priced(Scenario("slo", 1.0, 0.0, 0.0)).latency_price, 6)
    1.0
    """

    def __init__(self, objective: LatencyObjective) -> None:
        self.objective = objective
        # Late answers are few and come as they like: who may save up but two of them forfeits more.
        config = PacerConfig(
            1.0 - _QUANTILE, gamma=objective.gamma, savings_bills=8.0, buffer_bills=0.0
        )
        self._pacer = BudgetPacer(config)

    @property
    def price(self) -> float:
        """In force, in reward for one late answer."""
        return self._pacer.price

    @property
    def balance(self) -> float:
        """Late answers saved (above 0) or owed."""
        return self._pacer.balance_usd

    def priced(self, scenario: Scenario) -> Scenario:
        """The scenario with the price of lateness in force."""
        slo_s = self.objective.p95_latency_s
        return replace(scenario, latency_price=self.price, latency_slo_s=slo_s)

    def completed(self, prediction: Prediction, scenario: Scenario, latency_s: float) -> None:
        """Count an answer that was decided under ``scenario`` and took ``latency_s`` seconds."""
        slo_s = self.objective.p95_latency_s
        others = replace(scenario, latency_price=0.0)
        late = [
            _instead(e, others, None if e.latency_s is None else lateness(e.latency_s, slo_s))
            for e in prediction.estimates
        ]
        self._pacer.completed(replace(prediction, estimates=tuple(late)), float(latency_s > slo_s))

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to continue exactly from here, JSON-ready."""
        return {"objective": asdict(self.objective), "pacer": self._pacer.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the pacer that was saved.

        Raises
        ------
        BadPacerError
            If the state is not one, or is of another objective.
        """
        _check_saved(state, asdict(self.objective))
        self._pacer.restore(state["pacer"])


class QualityPacer:
    """Keeps mean judged quality above a floor by a price on quality; told every judgement.

    Examples
    --------
    >>> pacer = QualityPacer(QualityFloor(0.9))
    >>> pacer.priced(Scenario("cheap", 0.0, 1.0, 0.0)).quality_price > 0.0
    True
    """

    def __init__(self, floor: QualityFloor) -> None:
        self.floor = floor
        self._pacer = BudgetPacer(
            PacerConfig(1.0 - floor.quality, gamma=floor.gamma, buffer_bills=0.0)
        )
        self._n, self._sum, self._squares = 10.0, 10.0 * floor.quality, 0.0

    @property
    def price(self) -> float:
        """In force, in reward for judged quality from 0 to 1."""
        return self._pacer.price

    @property
    def balance(self) -> float:
        """Quality saved (above 0) or owed, summed over answers."""
        return self._pacer.balance_usd

    def priced(self, scenario: Scenario) -> Scenario:
        """The scenario with the price of quality in force."""
        return replace(scenario, quality_price=self.price)

    def judged(self, prediction: Prediction, scenario: Scenario, quality: float) -> None:
        """Count a judgement, in [0, 1], of an answer that was decided under ``scenario``."""
        others = replace(scenario, quality_price=0.0)
        missing = [
            _instead(e, others, None if e.quality is None else 1.0 - e.quality)
            for e in prediction.estimates
        ]
        # Kept above the floor by what the mean of a window may be off.
        bill = min(1.0, 1.0 - quality + self._margin(quality))
        self._pacer.completed(replace(prediction, estimates=tuple(missing)), bill)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to continue exactly from here, JSON-ready."""
        seen = [self._n, self._sum, self._squares]
        return {"objective": asdict(self.floor), "pacer": self._pacer.state(), "seen": seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the pacer that was saved.

        Raises
        ------
        BadPacerError
            If the state is not one, or is of another floor.
        """
        _check_saved(state, asdict(self.floor))
        self._pacer.restore(state["pacer"])
        try:
            self._n, self._sum, self._squares = (float(x) for x in state["seen"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadPacerError("state", repr(error), "what state() gave") from error

    def _margin(self, quality: float) -> float:
        off = quality - self._sum / self._n
        fade = 0.998
        self._n, self._sum = fade * self._n + 1.0, fade * self._sum + quality
        self._squares = fade * self._squares + off * off
        deviation = math.sqrt(self._squares / self._n)
        return self.floor.margin * deviation / math.sqrt(self.floor.window)


def _check_saved(state: Mapping[str, Any], objective: Mapping[str, Any]) -> None:
    # What was late for another objective says nothing of this one.
    saved = state.get("objective")
    if saved != objective or not isinstance(state.get("pacer"), Mapping):
        raise BadPacerError("state", saved, f"the state of {dict(objective)}")


def _instead(estimate: Estimate, others: Scenario, bill: float | None) -> Estimate:
    """The estimate with another bill, and with what the other prices take from its utility."""
    charge = others.charge(
        estimate.cost_usd, latency_s=estimate.latency_s, quality=estimate.quality
    )
    return replace(estimate, cost_usd=bill, utility=estimate.utility - charge)
