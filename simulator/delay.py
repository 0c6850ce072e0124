"""When feedback arrives: with each round, some rounds or seconds later, or never."""

import heapq
import re
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from simulator.errors import BadStudyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delay:
    """Time between an answer and what is said of it.

    Attributes
    ----------
    mean
        In ``unit``.
    spread
        ``fixed``, or ``exp`` for exponentially distributed around the mean.
    """

    mean: float = 0.0
    unit: Literal["rounds", "s"] = "rounds"
    spread: Literal["fixed", "exp"] = "fixed"

    def draw(self, rng: np.random.Generator) -> float:
        """One delay, in ``unit``."""
        if self.spread == "exp" and self.mean > 0.0:
            return float(rng.exponential(self.mean))
        return self.mean


def parse_delay(text: str) -> Delay:
    """A delay as written on the command line: ``50`` rounds, ``30s``, ``exp:50``, ``exp:30s``.

    Examples
    --------
    >>> parse_delay("exp:30s")
    Delay(mean=30.0, unit='s', spread='exp')
    """
    match = re.fullmatch(r"(exp:)?(\d+(?:\.\d+)?)(s)?", text.strip())
    if match is None:
        raise BadStudyError("--feedback-delay", text, "want such as 50 (rounds), 30s or exp:50")
    spread, mean, seconds = match.groups()
    return Delay(float(mean), "s" if seconds else "rounds", "exp" if spread else "fixed")


class Pending(Generic[T]):
    """Things that become due, in order; holds only those that are not due yet.

    Examples
    --------
    >>> waiting = Pending()
    >>> waiting.push(2.0, "b")
    >>> waiting.push(1.0, "a")
    >>> list(waiting.due(1.5))
    ['a']
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, when: float, thing: T) -> None:
        """Keep ``thing`` until ``when``."""
        self._pushed += 1
        heapq.heappush(self._heap, (when, self._pushed, thing))

    def due(self, now: float) -> list[T]:
        """Take out everything that is due, earliest first."""
        out: list[T] = []
        while self._heap and self._heap[0][0] <= now:
            out.append(heapq.heappop(self._heap)[2])
        return out
