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
    """The reward; under a budget, less what the drawn arm was expected to cost of it.

    The interaction must be one that `judges`.
    """
    decision = interaction.decision
    reward = interaction.reward.value or 0.0
    scenario, logged = decision.scenario, decision.prediction
    if scenario.cost_price == 0.0 or not logged.estimates:
        return reward
    estimate = logged.estimates[logged.arms.index(decision.arm)]
    return max(0.0, reward - scenario.charge(estimate.cost_usd))
