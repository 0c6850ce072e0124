"""The port to the decision log; `feedback.sql` and `feedback.memory` implement it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from bandit.primitives import Decision
from feedback.alarms import AlarmBook
from feedback.judge_book import JudgeBook
from feedback.outcome import Feedback, Outcome

EventKind: TypeAlias = Literal["outcome", "feedback", "default"]


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decision with what only the log knows of it.

    Attributes
    ----------
    kind
        ``chat`` when we answer, ``route`` when the caller runs the model.
    key_id
        Public part of the API key that asked; decisions of others are invisible to a key.
    query_hash
        SHA-256 of the query's text; the text itself is ``prompt``, kept only if told to.
    reference
        An answer that the caller knows to be right; kept where ``prompt`` is.
    """

    decision: Decision
    kind: Literal["chat", "route"] = "chat"
    key_id: str = ""
    query_hash: str = ""
    prompt: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class FeedbackReceipt:
    """What became of one piece of feedback. ``reason`` is None when ``will_apply``.

    Reasons: ``late`` (after the reward window), ``forced`` (the arm was imposed), ``duplicate``
    (same value as before), ``unlearnable`` (features were missing), ``comment`` (no number),
    ``capped`` (its source has said as much as counts in an hour).
    """

    feedback_id: str
    decision_id: str
    will_apply: bool
    reason: str | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One thing that happened, at its position in the log, with all that is known of its decision.

    ``outcome`` is None or happened at ``outcome_position``; ``feedback`` holds every row of the
    decision that applies (not only the latest; later ones than ``position`` too), each with its
    position, oldest first. Rows that do not apply make no event.
    """

    position: int
    kind: EventKind
    logged: LoggedDecision
    outcome: Outcome | None
    outcome_position: int | None
    feedback: tuple[tuple[int, Feedback], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Saved weights plus manifest, as stored.

    Attributes
    ----------
    version
        Name of the snapshot, unique, such as ``"composed-12"``.
    position
        Log position up to which its policy has learned.
    manifest
        ``sha256`` of ``blob``, ``policy``, ``vw_version``, ``arguments``, ``schema_version``,
        ``n_interactions``, ``canaries`` (contexts' predictions), ...
    """

    version: str
    position: int
    manifest: Mapping[str, Any]
    blob: bytes
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """How far learning has come: the position of the newest snapshot, and whether anyone leads."""

    position: int
    led: bool


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """All that the log holds of one decision, for explaining it."""

    logged: LoggedDecision
    outcome: Outcome | None = None
    feedback: Sequence[Feedback] = field(default_factory=tuple)


class DecisionLog(Protocol):
    """Append-only log of decisions, outcomes and feedback. One call is one transaction.

    Positions are handed out in commit order: whoever has read up to ``p`` never finds a new event
    at or below ``p`` later.
    """

    @property
    def alarms(self) -> AlarmBook:
        """What was noticed while learning from this log."""

    @property
    def judges(self) -> JudgeBook:
        """What judging needs of this log."""

    async def add_decisions(self, decisions: Sequence[LoggedDecision]) -> None:
        """Store decisions; durable on return."""

    async def add_outcome(self, outcome: Outcome, *, key_id: str | None = None) -> bool:
        """Store an outcome; False if the very same one was there already.

        Raises
        ------
        UnknownDecisionError, OutcomeConflictError, BadFeedbackError, LogUnavailableError
        """

    async def add_outcomes(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store outcomes of our own answers in one transaction; for each, whether it is new.

        One whose decision is unknown, or has another outcome already, is left out.
        """

    async def add_feedback(
        self,
        feedback: Sequence[Feedback],
        *,
        key_id: str | None = None,
        idempotency: tuple[str, str] | None = None,
        own: bool = False,
    ) -> list[FeedbackReceipt]:
        """Store feedback; durable on return. All or nothing.

        Parameters
        ----------
        key_id
            Who speaks; None may speak about every decision.
        idempotency
            (key, SHA-256 of the body): a repeat returns the first call's receipts.
        own
            This service itself speaks, as its judge does: it is never too much.

        Raises
        ------
        UnknownDecisionError
            Naming every unknown decision at once, so that the rest can be sent again.
        IdempotencyConflictError, BadFeedbackError, LogUnavailableError
        """

    async def get(self, decision_id: str, *, key_id: str | None = None) -> DecisionRecord:
        """Everything about one decision.

        Raises
        ------
        UnknownDecisionError
        """

    async def read(self, after: int, limit: int, *, until: int | None = None) -> Sequence[LogEvent]:
        """Events with ``after < position <= until``, in order."""

    async def close_windows(self, before: datetime, limit: int) -> int:
        """Add a ``default`` event to decisions that nobody judged; returns how many.

        Those made before ``before`` that have an outcome, no feedback and no default yet.
        """

    async def last_position(self) -> int:
        """Position of the newest event; 0 when there is none."""

    async def learned(self) -> Learned:
        """How far the learner has come, wherever it runs; cheap."""

    async def lead(self) -> int | None:
        """Try to become the one learner: a new epoch, larger than any before.

        None while somebody leads, be it through this very log.
        """

    async def still_leads(self, epoch: int) -> bool:
        """Whether the lead taken with `lead` is still ours."""

    async def resign(self, epoch: int) -> None:
        """Give up the lead taken with `lead`, if it is still ours."""

    async def publish(self, snapshot: Snapshot, *, epoch: int) -> None:
        """Store a snapshot and the learner's position in one transaction.

        Raises
        ------
        FencedError
            If a later epoch has begun.
        """

    async def latest_snapshot(self) -> Snapshot | None:
        """The newest published snapshot."""

    async def latest_version(self) -> str | None:
        """Its version only; cheap."""

    async def get_snapshot(self, version: str) -> Snapshot | None:
        """One published snapshot."""

    async def snapshots_before(self, position: int, limit: int) -> Sequence[Snapshot]:
        """Published snapshots whose position is below ``position``, newest first."""

    async def aclose(self) -> None:
        """Give back connections."""
