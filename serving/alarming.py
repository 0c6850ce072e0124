"""From what a policy noticed to the log: each alarm is stored once and said once."""

from collections.abc import Sequence

import structlog

from bandit.alarm import Alarm
from feedback.alarms import AlarmBook

_LOG = structlog.get_logger("pointsman")


class AlarmBell:
    """Stores a policy's new alarms; one that was stored before is neither stored nor said again.

    Parameters
    ----------
    tell
        Whether somebody is to be told of them, beyond the log.
    """

    def __init__(self, book: AlarmBook, *, tell: bool) -> None:
        self._book = book
        self._tell = tell
        self._rung: frozenset[str] = frozenset()

    async def ring(self, alarms: Sequence[Alarm], *, position: int, quiet: bool = False) -> None:
        """Store those of ``alarms`` that are new.

        Parameters
        ----------
        quiet
            The past is being learned anew: what is noticed there is stored, and nobody is told.

        Raises
        ------
        LogUnavailableError
            Nothing was stored; the call can be repeated.
        """
        fresh = [alarm for alarm in alarms if alarm.alarm_id not in self._rung]
        if fresh:
            tell = self._tell and not quiet
            for row in await self._book.add(fresh, position=position, tell=tell):
                _say(row.alarm, quiet=quiet)
        self._rung = frozenset(alarm.alarm_id for alarm in alarms)


def _say(alarm: Alarm, *, quiet: bool) -> None:
    say = _LOG.info if quiet else _LOG.warning
    say(
        "alarm",
        alarm_id=alarm.alarm_id,
        kind=alarm.kind,
        arm=alarm.arm,
        decision_id=alarm.decision_id,
        n_interactions=alarm.n_interactions,
        before=alarm.before,
        after=alarm.after,
        action=alarm.action,
    )
