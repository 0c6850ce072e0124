"""What judging needs of a log in memory."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from feedback.judge_book import Waiting
from feedback.log import LoggedDecision
from feedback.outcome import Feedback


class MemoryJudgeBook:
    """`feedback.judge_book.JudgeBook` that forgets everything at exit; threads may share one.

    Parameters
    ----------
    rows
        Every decision with its feedback, oldest first.
    """

    def __init__(
        self, rows: Callable[[], Iterable[tuple[LoggedDecision, Sequence[Feedback]]]]
    ) -> None:
        self._rows = rows
        self._spent: dict[str, float] = {}
        self._lock = threading.Lock()

    async def waiting(self, limit: int, *, since: datetime, key_id: str | None = None) -> Waiting:
        """See `JudgeBook`."""
        found = [
            logged.decision.decision_id
            for logged, rows in self._rows()
            if key_id in (None, logged.key_id) and _waits(rows, since)
        ]
        found.sort(key=lambda id_: hashlib.md5(id_.encode(), usedforsecurity=False).hexdigest())
        return Waiting(found[:limit], len(found))

    async def reserve(self, day: str, usd: float, *, cap_usd: float) -> bool:
        """See `JudgeBook`."""
        with self._lock:
            if self._spent.get(day, 0.0) + usd > cap_usd:
                return False
            self._spent[day] = self._spent.get(day, 0.0) + usd
            return True

    async def settle(self, day: str, *, reserved_usd: float, spent_usd: float) -> None:
        """See `JudgeBook`."""
        with self._lock:
            self._spent[day] = max(0.0, self._spent.get(day, 0.0) - reserved_usd + spent_usd)

    async def spent(self, day: str) -> float:
        """See `JudgeBook`."""
        return self._spent.get(day, 0.0)


def _waits(rows: Sequence[Feedback], since: datetime) -> bool:
    drawn = any(
        row.metric == "judge" and row.tags.get("audit") == "drawn" and row.at and row.at >= since
        for row in rows
    )
    return drawn and not any(row.metric != "judge" and "audit" in row.tags for row in rows)
