"""Errors of the feedback layer.

::

    PointsmanError
    └── FeedbackError
        ├── BadFeedbackError          a value that this metric does not take
        ├── UnknownDecisionError      no such decision, or not yours: the caller cannot tell which
        ├── IdempotencyConflictError  the same key with another body
        ├── OutcomeConflictError      the decision already has an outcome
        ├── LogUnavailableError       the database did not answer; nothing was stored
        └── FencedError               another learner has taken over
"""

from bandit.errors import PointsmanError


class FeedbackError(PointsmanError):
    """Something about outcomes, judgements or their log."""


class BadFeedbackError(FeedbackError):
    """A field of feedback or of an outcome with a value it cannot have."""

    def __init__(self, field: str, value: object, want: str) -> None:
        shown = repr(value)
        super().__init__(f"{field} = {shown[:80]}; want {want}")
        self.field = field


class UnknownDecisionError(FeedbackError):
    """The ids name no decisions that the caller may speak about.

    Attributes
    ----------
    decision_id, decision_ids
        The first of them, and all of one submission.
    """

    def __init__(self, decision_id: str, *more: str) -> None:
        others = f" and {len(more)} more" if more else ""
        super().__init__(
            f"no decision {decision_id[:80]!r}{others}; use the x-pointsman-decision-id header "
            "or the id of the response"
        )
        self.decision_id = decision_id
        self.decision_ids = frozenset((decision_id, *more))


class IdempotencyConflictError(FeedbackError):
    """An Idempotency-Key that was used before with another body."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key[:80]!r} was used with another body; use a new key")
        self.key = key


class OutcomeConflictError(FeedbackError):
    """A second, different outcome for one decision."""

    def __init__(self, decision_id: str) -> None:
        super().__init__(f"decision {decision_id} already has an outcome")
        self.decision_id = decision_id


class LogUnavailableError(FeedbackError):
    """The database did not take the write in time; the caller may try again."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the decision log is not available: {why}; nothing was stored, try again")


class FencedError(FeedbackError):
    """A learner tried to publish after another one had taken over."""

    def __init__(self, epoch: int, current: int) -> None:
        super().__init__(f"learner of epoch {epoch} is fenced off: epoch {current} leads")
