"""What becomes of one piece of feedback: the rules that every decision log shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from feedback.log import FeedbackReceipt
from feedback.outcome import Feedback
from feedback.reward import COMMENT

COUNTED_OVER = timedelta(hours=1)
"""How far back votes of a source are counted."""


@dataclass(frozen=True, slots=True)
class DecisionFacts:
    """What a receipt depends on, of the decision that is judged.

    Attributes
    ----------
    closed
        Whether the default for silence was already counted.
    """

    key_id: str
    decided_at: datetime
    forced: bool
    features_ok: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What a row's source has said before.

    Attributes
    ----------
    newest
        Its newest row of the same decision and metric.
    counts
        Whether a row of it counts there already, so that another one only changes it.
    full
        Whether it has said as much as counts of one source in an hour.
    """

    newest: Feedback | None = None
    counts: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a row applies (``reason`` None) or why not, and whether it is kept."""

    reason: str | None
    store: bool

    def receipt(self, row: Feedback, position: int | None) -> FeedbackReceipt:
        """What the caller is told."""
        return FeedbackReceipt(
            row.feedback_id, row.decision_id, self.reason is None, self.reason, position
        )


def judge(
    row: Feedback,
    facts: DecisionFacts,
    standing: Standing,
    *,
    now: datetime,
    reward_window_s: float,
) -> Verdict:
    """The fate of ``row``, given what its source has said before.

    A row that says what the newest one says is not kept: the same vote sent twice counts once. A
    source that is `Standing.full` may still change and withdraw what counts.
    """
    previous = standing.newest
    repeated = _same_value(row, previous)
    keep = not (repeated and row.comment == (previous.comment if previous else None))
    if facts.forced:
        return Verdict("forced", keep)
    if not facts.features_ok:
        return Verdict("unlearnable", keep)
    if row.metric == COMMENT:
        return Verdict(COMMENT, keep)
    if facts.closed or now > facts.decided_at + timedelta(seconds=reward_window_s):
        return Verdict("late", keep)
    if repeated:
        return Verdict("duplicate", keep)
    new = row.value is not None and not standing.counts
    return Verdict("capped" if new and standing.full else None, keep)


def receipt_to_dict(receipt: FeedbackReceipt) -> Mapping[str, object]:
    """The receipt as JSON-ready data, kept beside an Idempotency-Key."""
    return {name: getattr(receipt, name) for name in FeedbackReceipt.__slots__}


def _same_value(row: Feedback, previous: Feedback | None) -> bool:
    if previous is None:
        # Withdrawing what was never said changes nothing.
        return row.value is None and row.metric != COMMENT
    return row.value == previous.value
