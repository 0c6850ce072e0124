"""What one reward says of those who would have chosen otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass

from bandit.lift import Contrast
from bandit.policies.doubt import WARM
from bandit.primitives import Decision, Interaction


@dataclass(frozen=True, slots=True)
class Row:
    """One reward with what everyone would have done."""

    decision: Decision
    reward: float
    drawn: int
    live: Sequence[float]
    champion: Sequence[float] | None

    def contrast(self, target: Sequence[float], base: Sequence[float]) -> Contrast:
        """What ``target`` would have done against what ``base`` would have."""
        logged = self.decision.prediction.pmf
        return Contrast.between(target, logged, drawn=self.drawn, base=base)


def judges(interaction: Interaction) -> bool:
    """Whether the whole reward of a draw is known, with the probability that it was drawn with."""
    decision = interaction.decision
    logged = decision.prediction
    if interaction.reward.value is None or decision.forced or logged.policy_version == WARM:
        return False
    return abs(logged.propensity(decision.arm) - decision.propensity) <= 1e-6


def worth(interaction: Interaction) -> float:
    """The reward; under a budget or an objective, less what was expected to be taken of it.

    The interaction must be one that `judges`.
    """
    decision = interaction.decision
    reward = interaction.reward.value or 0.0
    scenario, logged = decision.scenario, decision.prediction
    priced = scenario.cost_price or scenario.latency_price or scenario.quality_price
    if not (priced and logged.estimates):
        return reward
    estimate = logged.estimates[logged.arms.index(decision.arm)]
    charge = scenario.charge(
        estimate.cost_usd, latency_s=estimate.latency_s, quality=estimate.quality
    )
    return max(0.0, reward - charge)
