"""The port to whatever answers for an arm."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from features.query import Query


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    Attributes
    ----------
    body
        OpenAI ``chat.completion`` object as the model's side made it; ``model`` is what answered.
    confidence
        The model's own signals where known (see `feedback.outcome.Outcome`).
    energy_j
        Energy that it took, in joules, where that was measured.
    """

    body: Mapping[str, Any]
    ttft_s: float | None = None
    confidence: Mapping[str, float] = field(default_factory=dict)
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One OpenAI ``chat.completion.chunk`` object.

    The last chunk of a stream may have empty ``choices`` and carry ``usage``; ``energy_j`` comes
    with the last chunk only, ``confidence`` with it and, about the answer so far, before it where
    somebody wants to peek.
    """

    body: Mapping[str, Any]
    confidence: Mapping[str, float] = field(default_factory=dict)
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a backend is: queued and running queries, predicted wait before a new one starts."""

    queued: int = 0
    running: int = 0
    wait_s: float = 0.0


class Backend(Protocol):
    """Answers queries for one arm.

    Cancelling the awaiting task, or closing the iterator, stops the work behind it within a second.
    Every failure is a `serving.errors.BackendError`; nothing else escapes. ``stream`` always ends
    with a usage chunk if the model's side gives one, whether or not the caller asked for it.
    """

    arm_id: str

    async def complete(self, query: Query) -> Completion:
        """The whole answer."""

    def stream(self, query: Query) -> AsyncIterator[Chunk]:
        """The answer in chunks."""

    def load(self) -> Load:
        """How busy it is now; never blocks."""

    def health(self) -> tuple[bool, str]:
        """Whether it can answer now, and in words why (not)."""

    async def aclose(self) -> None:
        """Stop everything that was started."""
