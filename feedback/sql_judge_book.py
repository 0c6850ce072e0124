"""What judging needs of the log in Postgres."""

from datetime import datetime
from typing import cast

from feedback import sql_text
from feedback.engine import Database
from feedback.judge_book import Waiting
from feedback.lines import Line
from feedback.rows import Row


class SqlJudgeBook:
    """`feedback.judge_book.JudgeBook` in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, limit: int, *, since: datetime, key_id: str | None = None) -> Waiting:
        """See `JudgeBook`."""
        asked = {"since": since, "key_id": key_id, "limit": limit}
        rows = await self._run(sql_text.WAITING_AUDITS, asked)
        return Waiting([row["decision_id"] for row in rows], int(rows[0]["n"]) if rows else 0)

    async def reserve(self, day: str, usd: float, *, cap_usd: float) -> bool:
        """See `JudgeBook`."""
        if usd > cap_usd:
            return False
        asked = {"day": day, "usd": usd, "cap": cap_usd}
        # Repeating it could set the money aside twice, which keeps the cap all the same.
        return bool(await self._run(sql_text.RESERVE_JUDGE_MONEY, asked))

    async def settle(self, day: str, *, reserved_usd: float, spent_usd: float) -> None:
        """See `JudgeBook`."""
        asked = {"day": day, "change": spent_usd - reserved_usd}
        await self._run(sql_text.SETTLE_JUDGE_MONEY, asked, again=False)

    async def spent(self, day: str) -> float:
        """See `JudgeBook`."""
        rows = await self._run(sql_text.JUDGE_MONEY, {"day": day})
        return float(rows[0]["usd"]) if rows else 0.0

    async def _run(self, statement: str, values: Row, *, again: bool = True) -> list[Row]:
        async def work(line: Line) -> list[Row]:
            return cast("list[Row]", await line.run(statement, values))

        return await self._database.swiftly(work, again=again)
