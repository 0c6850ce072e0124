"""What estimates of an answer are worth under a scenario."""

from bandit.primitives import Estimate
from bandit.utility import Scenario


def utility_of(
    scenario: Scenario,
    quality: float,
    cost_usd: float | None,
    latency_s: float | None,
    *,
    energy_j: float | None = None,
) -> float:
    """The scenario's reward at expected values, prices left aside.

    Unclipped quality keeps the order of two arms that are both near the edge of the range. What an
    unknown price will cost is unknown, not nothing: it counts as the ceiling.

    Examples
    --------
    >>> utility_of(Scenario("q", 1.0, 0.0, 0.0), 1.25, None, None)
    1.25
    """
    useful = quality if scenario.mes is None else min(1.0, quality / scenario.mes)
    bill = scenario.cost_ceiling_usd if cost_usd is None else cost_usd
    return (
        scenario.w_quality * useful
        + scenario.w_cost * scenario.cost_term(bill, energy_j=energy_j)
        + scenario.w_latency * scenario.latency_term(latency_s or 0.0)
    )


def charge_of(estimate: Estimate, scenario: Scenario) -> float:
    """What the prices in force take from an arm's utility at its estimates."""
    return scenario.charge(
        estimate.cost_usd, latency_s=estimate.latency_s, quality=estimate.quality
    )


def clipped(quality: float) -> float:
    """A quality within [0, 1]."""
    return min(1.0, max(0.0, quality))
