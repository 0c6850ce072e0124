"""What the log says of a candidate policy, as a value and as JSON."""

from dataclasses import dataclass
from typing import Any

from bandit.confseq import ConfidenceSequence
from bandit.ope import ValueEstimate


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What the log says of a candidate.

    Attributes
    ----------
    n, n_forced, n_unrewarded, n_diverted, n_unvalued, n_foreign
        Decisions used, and those left out: the arm was imposed; the reward is not known (nobody
        judged it, or it failed); another arm answered than was drawn; the candidate could not say
        what it would do; its features are other ones than the candidate knows.
    logged
        The logging policy's own mean reward on the same rows.
    estimates
        The candidate's value by every method; ``headline`` names the one to read first.
    unsupported, below_floor
        Shares of the candidate's choices that the log never, or hardly, tried.
    value_sequence, lift_sequence
        Bounds, over the growing log, on its value and on its advantage over the logging policy.
    """

    candidate: str
    scenario: str
    n: int
    n_forced: int
    n_unrewarded: int
    n_diverted: int
    n_unvalued: int
    n_foreign: int
    floor: float
    logged: ValueEstimate | None = None
    estimates: tuple[ValueEstimate, ...] = ()
    headline: str | None = None
    unsupported: float = 0.0
    below_floor: float = 0.0
    value_sequence: ConfidenceSequence | None = None
    lift_sequence: ConfidenceSequence | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "candidate": self.candidate,
            "scenario": self.scenario,
            "n": self.n,
            "left_out": {
                "forced": self.n_forced,
                "unrewarded": self.n_unrewarded,
                "diverted": self.n_diverted,
                "unvalued": self.n_unvalued,
                "other_features": self.n_foreign,
            },
            "floor": self.floor,
            "logged": None if self.logged is None else self.logged.to_dict(),
            "estimates": [estimate.to_dict() for estimate in self.estimates],
            "headline": self.headline,
            "support": {"unsupported": self.unsupported, "below_floor": self.below_floor},
            "anytime": {
                "value": _points(self.value_sequence),
                "lift": _points(self.lift_sequence),
            },
            "warnings": list(self.warnings),
        }


def _points(sequence: ConfidenceSequence | None) -> dict[str, Any] | None:
    if sequence is None:
        return None
    return {
        "alpha": sequence.alpha,
        "steps": sequence.steps.tolist(),
        "value": sequence.value.tolist(),
        "low": sequence.low.tolist(),
        "high": sequence.high.tolist(),
    }
