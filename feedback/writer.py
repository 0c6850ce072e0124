"""Writes decisions in groups, and tells every caller whether its own is durable."""

import logging
from collections.abc import Sequence

from feedback.errors import LogUnavailableError
from feedback.grouping import Grouped
from feedback.log import DecisionLog, LoggedDecision

_IMPATIENT_S = 0.1

_LOG = logging.getLogger(__name__)


class DecisionWriter:
    """A bounded queue in front of `DecisionLog.add_decisions`. One event loop owns an instance.

    Parameters
    ----------
    max_batch
        Most rows in one transaction.
    max_waiting
        Most rows that wait; who comes then is told at once that nothing was stored.
    timeout_s
        Longest wait of one caller, in seconds. A row that is being committed when its caller gives
        up may be stored all the same. While nothing gets through, callers wait a tenth of a second
        only: a database that stalls must not slow down every answer.
    """

    def __init__(
        self,
        log: DecisionLog,
        *,
        max_batch: int = 100,
        max_waiting: int = 1000,
        timeout_s: float = 2.0,
    ) -> None:
        self._log = log
        self._max_waiting = max_waiting
        self._group = Grouped(
            self._write, max_items=max_batch, timeout_s=timeout_s, impatient_s=_IMPATIENT_S
        )

    async def add(self, logged: LoggedDecision) -> bool:
        """Store a decision; True once it is durable, False if it is not (in time)."""
        if len(self._group) >= self._max_waiting:
            return False
        try:
            return await self._group.submit(logged)
        except LogUnavailableError as error:
            _LOG.warning("a decision was not written: %s", error)
        except Exception:  # noqa: BLE001 - the answer goes out, marked as not logged
            _LOG.exception("a decision cannot be written")
        return False

    async def aclose(self) -> None:
        """Write what still waits."""
        await self._group.aclose()

    async def _write(self, batch: Sequence[LoggedDecision]) -> Sequence[bool]:
        await self._log.add_decisions(batch)
        return [True] * len(batch)
