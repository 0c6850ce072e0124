"""What steers a policy in a run: a budget, a latency objective, a floor under judged quality."""

from collections.abc import Sequence
from dataclasses import dataclass

from bandit.objectives import LatencyPacer, QualityPacer
from bandit.primitives import Arm, Decision, Interaction
from bandit.utility import Scenario
from feedback.outcome import Outcome
from simulator.dual import Pacer


@dataclass(frozen=True, slots=True)
class Steering:
    """Prices in force, and who sets them; what is None is not kept."""

    money: Pacer | None = None
    latency: LatencyPacer | None = None
    quality: QualityPacer | None = None

    def priced(self, scenario: Scenario, arms: Sequence[Arm]) -> Scenario:
        """The scenario to decide under."""
        if self.money is not None:
            scenario = self.money.priced(scenario, arms)
        if self.latency is not None:
            scenario = self.latency.priced(scenario)
        return scenario if self.quality is None else self.quality.priced(scenario)

    def answered(self, decision: Decision, outcome: Outcome) -> None:
        """Count an answer."""
        if self.money is not None:
            self.money.completed(decision.prediction, outcome.cost_usd or 0.0)
        if self.latency is not None and outcome.latency_s is not None:
            self.latency.completed(decision.prediction, decision.scenario, outcome.latency_s)

    def learned(self, interaction: Interaction) -> None:
        """Count what was judged."""
        decision, quality = interaction.decision, interaction.reward.quality
        if self.quality is not None and quality is not None:
            self.quality.judged(decision.prediction, decision.scenario, quality)
