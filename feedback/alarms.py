"""The port to what was noticed, and to whether those who want to hear of it were told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from bandit.alarm import Alarm

Delivery: TypeAlias = Literal["none", "pending", "delivered", "given_up"]


@dataclass(frozen=True, slots=True)
class LoggedAlarm:
    """An alarm as the log holds it.

    Attributes
    ----------
    seq
        Number in the order of storing, for paging.
    position
        Log position up to which the policy had learned when it was stored.
    delivery
        ``none``: nobody is to be told. ``pending``: to be told. ``given_up``: told in vain for too
        long.
    attempts
        How often it was claimed for telling.
    error
        Why the last attempt failed.
    """

    seq: int
    alarm: Alarm
    position: int
    noticed_at: datetime
    delivery: Delivery = "none"
    attempts: int = 0
    delivered_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AlarmTally:
    """How many alarms there are, by kind; how many wait to be told; the newest one."""

    by_kind: Mapping[str, int] = field(default_factory=dict)
    n_pending: int = 0
    newest: LoggedAlarm | None = None


class AlarmBook(Protocol):
    """Keeps alarms by id: one that is added again changes nothing. One call is one transaction."""

    async def add(
        self, alarms: Sequence[Alarm], *, position: int, tell: bool
    ) -> Sequence[LoggedAlarm]:
        """Store alarms; those that are new.

        Parameters
        ----------
        tell
            Whether they are to be told; not those of a past that is learned anew.
        """

    async def newest(
        self, limit: int, *, before: int | None = None, kind: str | None = None
    ) -> Sequence[LoggedAlarm]:
        """The newest alarms first, those with ``seq < before``."""

    async def tally(self) -> AlarmTally:
        """Counts and the newest one; cheap."""

    async def claim(
        self, limit: int, *, until: datetime, noticed_since: datetime
    ) -> Sequence[LoggedAlarm]:
        """Alarms that are due to be told, oldest first; nobody else gets them before ``until``.

        Those that were noticed before ``noticed_since`` are given up.
        """

    async def settle(
        self, alarm_id: str, *, error: str | None = None, retry_at: datetime | None = None
    ) -> None:
        """Say what became of a claim: delivered, or due again at ``retry_at``."""
