"""Which answers to show to people: those that say most about how far a judge is off.

An arm's corrected mean has the variance ``Σ σ_i² / π_i / N_a²`` over its N_a scores, so audits do
most good with ``π_i`` proportional to ``σ_i / N_a`` (Neyman, "On the two different aspects of the
representative method", 1934): where judge and verdict are expected to differ much, and where the
arm is seen seldom. σ is learned from the audits, by how far the score is from what the policy
expected. Every answer keeps a chance, and the chance is logged.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from bandit.errors import BanditError

Strategy: TypeAlias = Literal["neyman", "uniform"]

_EDGES = (0.1, 0.25, 0.45)
_CENTRES = (0.05, 0.17, 0.35, 0.6)
_PRIOR_AUDITS = 4.0
_MEMORY = 0.995
_RAREST = 0.05
"""An arm seen less than that is audited no more eagerly than one seen that much."""


class BadAuditError(BanditError):
    """A rule for audits that cannot be followed."""

    def __init__(self, name: str, value: object, want: str) -> None:
        super().__init__(f"audit {name} = {value!r}; want {want}")
        self.name = name


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """How many answers are shown to people, and which.

    Attributes
    ----------
    rate
        Share of the judged answers, in [0, 1].
    strategy
        ``neyman``, or ``uniform``: each with the same chance.
    least
        Least chance of an answer, as a share of ``rate``, in (0, 1].
    """

    rate: float = 0.05
    strategy: Strategy = "neyman"
    least: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise BadAuditError("rate", self.rate, "a number in [0, 1]")
        if self.strategy not in ("neyman", "uniform"):
            raise BadAuditError("strategy", self.strategy, "neyman or uniform")
        if not 0.0 < self.least <= 1.0:
            raise BadAuditError("least", self.least, "a number in (0, 1]")


def gap_bin(score: float, expected: float | None) -> int:
    """In which of four classes of surprise a score falls, given what the policy expected."""
    if expected is None:
        return 1
    return sum(abs(score - expected) >= edge for edge in _EDGES)


@dataclass(slots=True)
class AuditPlan:
    """What was learned of where judges and people differ.

    Attributes
    ----------
    cells
        By judge and class of surprise (``judge|class``), and by arm too (``judge|class|arm``):
        weight of the audits, and of their squared residuals.
    shares
        How often each arm was judged lately.
    eagerness
        Sum and count of `_eagerness` over what was judged lately: the unit of the rate.
    """

    cells: dict[str, list[float]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    eagerness: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def probability(
        self, config: AuditConfig, judge: str, arm: str, *, score: float, expected: float | None
    ) -> float:
        """The chance of one judged answer to be shown to people.

        Examples
        --------
        >>> plan = AuditPlan()
        >>> plan.probability(AuditConfig(0.1), "judge:m", "edge", score=0.9, expected=0.2)
        0.1
        """
        if config.strategy == "uniform" or config.rate in (0.0, 1.0) or self.eagerness[1] < 1.0:
            return config.rate
        typical = self.eagerness[0] / self.eagerness[1]
        wanted = self._eagerness(judge, arm, gap_bin(score, expected)) / typical
        return min(1.0, config.rate * max(config.least, wanted))

    def judged(self, judge: str, arm: str, *, score: float, expected: float | None) -> None:
        """Count an answer that may be drawn."""
        for other in self.shares:
            self.shares[other] *= _MEMORY
        self.shares[arm] = self.shares.get(arm, 0.0) + 1.0
        eager = self._eagerness(judge, arm, gap_bin(score, expected))
        self.eagerness = [
            _MEMORY * self.eagerness[0] + eager,
            _MEMORY * self.eagerness[1] + 1.0,
        ]

    def audited(
        self,
        judge: str,
        arm: str,
        *,
        score: float,
        expected: float | None,
        residual: float,
        weight: float,
    ) -> None:
        """Count an answer to an audit; ``residual`` is verdict less corrected score."""
        where = gap_bin(score, expected)
        for key in (f"{judge}|{where}", f"{judge}|{where}|{arm}"):
            cell = self.cells.setdefault(key, [0.0, 0.0, 0.0])
            cell[0] += 1.0
            cell[1] += weight
            cell[2] += weight * residual * residual

    def _eagerness(self, judge: str, arm: str, where: int) -> float:
        total = sum(self.shares.values())
        share = self.shares.get(arm, 0.0) / total if total else 1.0
        return self._spread(judge, arm, where) / max(_RAREST, share)

    def _spread(self, judge: str, arm: str, where: int) -> float:
        variance = 0.02 + 0.25 * _CENTRES[where] ** 2
        for key in (f"{judge}|{where}", f"{judge}|{where}|{arm}"):
            n, weight, squares = self.cells.get(key, (0.0, 0.0, 0.0))
            own = squares / weight if weight else 0.0
            variance = (n * own + _PRIOR_AUDITS * variance) / (n + _PRIOR_AUDITS)
        return math.sqrt(max(variance, 1e-4))

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        return {"cells": self.cells, "shares": self.shares, "eagerness": self.eagerness}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "AuditPlan":
        """The plan that `state` gave."""
        return cls(
            {key: list(cell) for key, cell in state["cells"].items()},
            dict(state["shares"]),
            list(state["eagerness"]),
        )
