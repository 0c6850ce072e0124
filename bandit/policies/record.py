"""What is kept of one arm under one digest, beside the weights of its models."""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["quality", "cost", "latency"]
KINDS: tuple[Kind, ...] = ("quality", "cost", "latency")
QUALITY, COST, LATENCY = range(3)

_LONG = 1e9
_NOISE = 0.25
"""Standard deviation of a vote around what was expected of it, roughly."""


@dataclass(slots=True)
class Record:
    """Counts and corrections of an arm; lists have one value for each of `KINDS`.

    Attributes
    ----------
    arm
        Its id.
    n_judged, n_answered
        Its own votes and answers since.
    answered_at
        Interactions that the policy had learned from at its last answer.
    offsets
        What is added to the models: quality in its own unit, the logarithms of cost and latency.
    n_since
        Votes that the offset of quality rests on; the fewer, the faster it follows.
    usual
        Running means of what was expected: what alarms call "before".
    hope
        The offsets before it became worse; None when it is not under watch.
    fell
        The most of quality that it has lost since.
    watched_from
        Votes that the policy had learned from when the watch began.
    graded
        Whether a vote was neither 0 nor 1.
    """

    arm: str = ""
    n_judged: int = 0
    n_answered: int = 0
    answered_at: int = 0
    offsets: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    n_since: float = _LONG
    usual: list[float | None] = field(default_factory=lambda: [None, None, None])
    hope: list[float] | None = None
    fell: float = 0.0
    watched_from: int = 0
    graded: bool = False

    def expect(self, kind: int, expected: float) -> None:
        """Count what was expected of one answer."""
        before = self.usual[kind]
        self.usual[kind] = expected if before is None else 0.98 * before + 0.02 * expected

    def caution(self, deviations: float) -> float:
        """By how much the quality of an arm under watch may be overestimated."""
        if self.hope is None:
            return 0.0
        return deviations * _NOISE / math.sqrt(self.n_since + 1.0)

    def follow(self, residual: float, least: float) -> None:
        """Move the offset of quality toward a residual, by ``least`` or more where it is new."""
        self.offsets[QUALITY] += max(least, 1.0 / (self.n_since + 1.0)) * residual
        self.n_since += 1.0

    def watch(self, n_votes: int) -> None:
        """Hope that it will be again what it is now; called before it is corrected downwards."""
        if self.hope is None:
            self.hope, self.fell = [*self.offsets], 0.0
        self.watched_from = n_votes


UNKNOWN = Record()
"""Of an arm that never answered."""
