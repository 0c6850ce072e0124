"""Alarms in memory."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bandit.alarm import Alarm
from feedback.alarms import AlarmTally, LoggedAlarm


class MemoryAlarmBook:
    """`feedback.alarms.AlarmBook` that forgets everything at exit; threads may share one."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._rows: dict[str, LoggedAlarm] = {}
        self._due: dict[str, datetime] = {}
        self._lock = threading.RLock()

    async def add(
        self, alarms: Sequence[Alarm], *, position: int, tell: bool
    ) -> Sequence[LoggedAlarm]:
        """See `AlarmBook`."""
        with self._lock:
            now, new = self._clock(), []
            for alarm in alarms:
                if alarm.alarm_id in self._rows:
                    continue
                row = LoggedAlarm(
                    len(self._rows) + 1, alarm, position, now, "pending" if tell else "none"
                )
                self._rows[alarm.alarm_id] = row
                self._due[alarm.alarm_id] = now
                new.append(row)
            return new

    async def newest(
        self, limit: int, *, before: int | None = None, kind: str | None = None
    ) -> Sequence[LoggedAlarm]:
        """See `AlarmBook`."""
        found = [
            row
            for row in reversed(self._rows.values())
            if (before is None or row.seq < before) and kind in (None, row.alarm.kind)
        ]
        return found[:limit]

    async def tally(self) -> AlarmTally:
        """See `AlarmBook`."""
        rows = [*self._rows.values()]
        return AlarmTally(
            Counter(row.alarm.kind for row in rows),
            sum(row.delivery == "pending" for row in rows),
            rows[-1] if rows else None,
        )

    async def claim(
        self, limit: int, *, until: datetime, noticed_since: datetime
    ) -> Sequence[LoggedAlarm]:
        """See `AlarmBook`."""
        with self._lock:
            now = self._clock()
            claimed: list[LoggedAlarm] = []
            for id_, row in self._rows.items():
                if row.delivery != "pending":
                    continue
                if row.noticed_at < noticed_since:
                    self._rows[id_] = replace(row, delivery="given_up")
                elif self._due[id_] <= now and len(claimed) < limit:
                    self._due[id_] = until
                    self._rows[id_] = replace(row, attempts=row.attempts + 1)
                    claimed.append(self._rows[id_])
            return claimed

    async def settle(
        self, alarm_id: str, *, error: str | None = None, retry_at: datetime | None = None
    ) -> None:
        """See `AlarmBook`."""
        with self._lock:
            row = self._rows[alarm_id]
            if row.delivery != "pending":
                return
            if retry_at is None:
                self._rows[alarm_id] = replace(
                    row, delivery="delivered", delivered_at=self._clock(), error=None
                )
            else:
                self._due[alarm_id] = retry_at
                self._rows[alarm_id] = replace(row, error=error)
