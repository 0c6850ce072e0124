"""What learning noticed by itself: a plain value that logs, webhooks and reports can show."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

AlarmKind: TypeAlias = Literal[
    "quality", "cost", "latency", "mix", "digest", "price", "guard", "promotion"
]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something changed, and this is what was done about it.

    Attributes
    ----------
    alarm_id
        Made of the decision at which it was noticed, the kind and the arm: when a log is replayed
        the same alarm comes again under the same id, so that nobody is told twice.
    arm
        The arm that it is about; None for all of them.
    n_interactions
        How many the policy had learned from then.
    before, after
        The quantity before and after the change, in its own unit; None where it has none.
    action
        What was done, as a sentence for people.
    """

    alarm_id: str
    kind: AlarmKind
    arm: str | None
    decision_id: str
    n_interactions: int
    before: float | None = None
    after: float | None = None
    action: str = ""
