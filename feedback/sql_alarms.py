"""Alarms in Postgres."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

from bandit.alarm import Alarm
from feedback import sql_text
from feedback.alarms import AlarmTally, LoggedAlarm
from feedback.engine import Database
from feedback.lines import Line
from feedback.rows import Row, alarm_from, alarm_row, clean, rows_json

_NEWEST = 2**63 - 1


class SqlAlarmBook:
    """`feedback.alarms.AlarmBook` in Postgres."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, alarms: Sequence[Alarm], *, position: int, tell: bool
    ) -> Sequence[LoggedAlarm]:
        """See `AlarmBook`."""
        if not alarms:
            return []
        now = self._clock()
        rows = [alarm_row(alarm, position=position, now=now, tell=tell) for alarm in alarms]
        found = await self._run(sql_text.INSERT_ALARMS, {"rows": rows_json(rows)})
        return sorted(map(alarm_from, found), key=lambda row: row.seq)

    async def newest(
        self, limit: int, *, before: int | None = None, kind: str | None = None
    ) -> Sequence[LoggedAlarm]:
        """See `AlarmBook`."""
        asked = {
            "before": _NEWEST if before is None else before,
            "limit": limit,
            "kind": None if kind is None else clean(kind),
        }
        return [alarm_from(row) for row in await self._run(sql_text.NEWEST_ALARMS, asked)]

    async def tally(self) -> AlarmTally:
        """See `AlarmBook`."""
        counts = await self._run(sql_text.ALARM_COUNTS, {})
        newest = await self.newest(1) if counts else ()
        return AlarmTally(
            {row["kind"]: int(row["n"]) for row in counts},
            sum(int(row["n_pending"]) for row in counts),
            newest[0] if newest else None,
        )

    async def claim(
        self, limit: int, *, until: datetime, noticed_since: datetime
    ) -> Sequence[LoggedAlarm]:
        """See `AlarmBook`."""
        asked = {"now": self._clock(), "until": until, "limit": limit}

        async def work(line: Line) -> list[Row]:
            await line.run(sql_text.GIVE_UP_ALARMS, {"since": noticed_since})
            return cast("list[Row]", await line.run(sql_text.CLAIM_ALARMS, asked))

        found = await self._database.swiftly(work)
        return sorted(map(alarm_from, found), key=lambda row: row.seq)

    async def settle(
        self, alarm_id: str, *, error: str | None = None, retry_at: datetime | None = None
    ) -> None:
        """See `AlarmBook`."""
        asked = {"id": alarm_id, "now": self._clock(), "error": clean(error), "retry_at": retry_at}
        await self._run(sql_text.SETTLE_ALARM, asked)

    async def _run(self, statement: str, values: Row) -> list[Row]:
        async def work(line: Line) -> list[Row]:
            return cast("list[Row]", await line.run(statement, values))

        return await self._database.swiftly(work)
