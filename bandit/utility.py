"""What an answer is worth: scenarios, and the reward that combines quality, cost and latency."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bandit.errors import BanditError

JOULES_PER_KWH = 3.6e6


class BadScenarioError(BanditError):
    """A scenario whose numbers do not make a reward."""

    def __init__(self, name: str, field: str, value: object, want: str) -> None:
        self.field = field
        self.why = f"{field} = {value!r}; want {want}"
        super().__init__(f"scenario {name!r}: {self.why}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Named weights of quality, cost and latency, with a minimal expectation score (MES).

    Attributes
    ----------
    w_quality, w_cost, w_latency
        At least 0; they sum to 1.
    mes
        In (0, 1], or None. Quality at or above it counts as full: nobody pays for quality beyond
        need (satisficing; after Tsinghua and Goertek, "ECVL-ROUTER", 2025, arXiv 2510.27256).
    cost_ceiling_usd, latency_ceiling_s
        Cost or latency at which its term reaches 0; more than that is no worse.
    usd_per_kwh
        What a kilowatt-hour counts in the cost term, beside the bill. Above its price on the bill
        it makes energy count for more than money. An answer whose energy nobody knows adds
        nothing: a vendor's is in the vendor's price.
    cost_price
        What a budget makes of a US dollar at the moment of deciding, in reward (`bandit.pacing`).
        It moves the choice, never the reward: an answer is not worth less because money is short.
    latency_price, latency_slo_s
        What a latency objective makes of a later answer, in reward (`bandit.objectives`).
    quality_price
        What a quality floor makes of judged quality from 0 to 1, in reward. Both move the choice
        alone, as ``cost_price`` does.

    Examples
    --------
    >>> s = Scenario("balanced", 0.5, 0.25, 0.25, cost_ceiling_usd=0.01, latency_ceiling_s=10.0)
    >>> s.reward(quality=0.8, cost_usd=0.005, latency_s=5.0)
    0.65
    """

    name: str
    w_quality: float
    w_cost: float
    w_latency: float
    mes: float | None = None
    cost_ceiling_usd: float = 0.02
    latency_ceiling_s: float = 30.0
    cost_price: float = 0.0
    latency_price: float = 0.0
    latency_slo_s: float | None = None
    quality_price: float = 0.0
    usd_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        for name in ("w_quality", "w_cost", "w_latency"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise BadScenarioError(self.name, name, value, "a number in [0, 1]")
        total = self.w_quality + self.w_cost + self.w_latency
        if abs(total - 1.0) > 1e-6:
            raise BadScenarioError(
                self.name,
                "w_quality + w_cost + w_latency",
                round(total, 6),
                "weights that sum to 1",
            )
        if self.mes is not None and not 0.0 < self.mes <= 1.0:
            raise BadScenarioError(self.name, "mes", self.mes, "a number in (0, 1], or none")
        for name in ("cost_ceiling_usd", "latency_ceiling_s", "latency_slo_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise BadScenarioError(self.name, name, value, "a number above 0")
        for name in ("cost_price", "latency_price", "quality_price", "usd_per_kwh"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise BadScenarioError(self.name, name, value, "a number of at least 0")

    def quality_term(self, quality: float) -> float:
        """Quality in [0, 1] after satisficing: ``min(1, quality / mes)``."""
        return quality if self.mes is None else min(1.0, quality / self.mes)

    def cost_term(self, cost_usd: float, *, energy_j: float | None = None) -> float:
        """1 when free, 0 at the ceiling and above; energy in joules counts with the bill.

        Examples
        --------
        >>> green = Scenario("green", 0.5, 0.5, 0.0, cost_ceiling_usd=0.01, usd_per_kwh=36.0)
        >>> green.cost_term(0.001, energy_j=400.0)
        0.5
        """
        counted = max(0.0, cost_usd) + self.usd_per_kwh * (energy_j or 0.0) / JOULES_PER_KWH
        return 1.0 - min(1.0, counted / self.cost_ceiling_usd)

    def latency_term(self, latency_s: float) -> float:
        """1 when instant, 0 at the ceiling and above."""
        return 1.0 - min(1.0, max(0.0, latency_s) / self.latency_ceiling_s)

    def charge(
        self,
        cost_usd: float | None,
        *,
        latency_s: float | None = None,
        quality: float | None = None,
    ) -> float:
        """What the prices in force take from an arm's utility, given what is expected of it.

        An unknown bill counts as the ceiling; an unknown latency or quality is not charged for.

        Examples
        --------
        >>> Scenario("paced", 1.0, 0.0, 0.0, cost_price=50.0).charge(0.002)
        0.1
        >>> late = Scenario("slo", 1.0, 0.0, 0.0, latency_price=2.0, latency_slo_s=5.0)
        >>> late.charge(0.002, latency_s=5.0)
        1.0
        """
        total = self.cost_price * (self.cost_ceiling_usd if cost_usd is None else cost_usd)
        if latency_s is not None and self.latency_slo_s is not None:
            total += self.latency_price * lateness(latency_s, self.latency_slo_s)
        if quality is not None:
            total += self.quality_price * (1.0 - quality)
        return total

    def reward(
        self,
        *,
        quality: float | None,
        cost_usd: float | None,
        latency_s: float | None,
        energy_j: float | None = None,
    ) -> float | None:
        """The reward in [0, 1], or None while a term with a positive weight is unknown."""
        total = 0.0
        if self.w_quality != 0.0:
            if quality is None:
                return None
            total += self.w_quality * self.quality_term(quality)
        if self.w_cost != 0.0:
            if cost_usd is None:
                return None
            total += self.w_cost * self.cost_term(cost_usd, energy_j=energy_j)
        if self.w_latency != 0.0:
            if latency_s is None:
                return None
            total += self.w_latency * self.latency_term(latency_s)
        return min(1.0, max(0.0, total))


def lateness(expected_s: float, slo_s: float) -> float:
    """About how likely an answer is late: a half where its expected latency is the objective.

    A logistic curve over the logarithm, as steep as for latencies that scatter by a factor of 1.5.

    Examples
    --------
    >>> [round(lateness(s, 4.0), 3) for s in (1.0, 4.0, 16.0)]
    [0.004, 0.5, 0.996]
    """
    ratio = min(1e6, slo_s / max(expected_s, 1e-6))
    return 1.0 / (1.0 + ratio**4)


PRESETS: Mapping[str, Scenario] = MappingProxyType(
    {
        "quality": Scenario("quality", 0.9, 0.05, 0.05),
        "speed": Scenario("speed", 0.5, 0.1, 0.4),
        "economy": Scenario("economy", 0.5, 0.4, 0.1),
        "balanced": Scenario("balanced", 0.7, 0.2, 0.1),
    }
)
"""The scenarios that every installation has."""
