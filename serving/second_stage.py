"""What is known of a cascade's second stage while the answer is given."""

from dataclasses import dataclass

from bandit.primitives import Gating
from serving.accounting import Meter
from serving.arms import ArmSpec
from serving.gating import Ruling
from serving.pricing import Charge


@dataclass(slots=True)
class SecondStage:
    """The first arm's answer, and the gate's verdict on it.

    Attributes
    ----------
    parts
        Ids of the arm that answered first and of the one that may answer instead.
    signals
        What the gate saw.
    first
        The first answer's own meter; it goes on counting where the stream was accepted early.
    first_latency_s
        Time of the first stage, in seconds; of an answer accepted early, None until its end.
    """

    parts: tuple[str, str]
    signals: dict[str, float]
    ruling: Ruling
    first: Meter
    first_latency_s: float | None

    @property
    def speaker(self) -> str:
        """Whose answer is delivered."""
        return self.parts[0] if self.ruling.verdict == "accept" else self.parts[1]

    def first_charge(self, edge: ArmSpec, chars_in: int) -> Charge:
        """Cost of the first answer; nothing where the first arm said nothing."""
        if not self.first.chars_out and self.first.usage is None:
            return Charge(cost_usd=0.0, cost_source="usage")
        return self.first.charge(edge, chars_in)

    def gating(self, edge: ArmSpec, chars_in: int, *, latency_s: float) -> Gating:
        """As the log keeps it; ``latency_s`` is that of both stages."""
        ruling = self.ruling
        took_s = self.first_latency_s
        return Gating(
            *self.parts,
            self.signals,
            ruling.prediction,
            ruling.verdict,
            ruling.propensity,
            bool(ruling.cause),
            self.first_charge(edge, chars_in).cost_usd,
            latency_s if took_s is None else took_s,
            ruling.cause,
        )
