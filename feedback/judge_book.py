"""The port to what judging needs of the log: answers that wait for people, and money spent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Waiting:
    """Decisions that were drawn for an audit and not answered, and how many there are in all."""

    decision_ids: Sequence[str]
    n: int


class JudgeBook(Protocol):
    """One call is one transaction."""

    async def waiting(self, limit: int, *, since: datetime, key_id: str | None = None) -> Waiting:
        """Decisions that wait for a person, in an order that has nothing to do with them.

        Parameters
        ----------
        since
            Only those that the judge scored since then.
        key_id
            Only this key's own decisions; None is everybody's.
        """

    async def reserve(self, day: str, usd: float, *, cap_usd: float) -> bool:
        """Set ``usd`` aside from a day's money, if that much is left of ``cap_usd``.

        Whoever else reserves at the same time, in whatever process, the cap holds.
        """

    async def settle(self, day: str, *, reserved_usd: float, spent_usd: float) -> None:
        """Put what was really spent in the place of what was set aside."""

    async def spent(self, day: str) -> float:
        """A day's money that is spent or set aside, in US dollars."""
