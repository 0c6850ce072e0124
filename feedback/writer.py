"""Writes decisions in groups: who comes while a commit is on its way shares the next one."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from feedback.errors import LogUnavailableError
from feedback.log import DecisionLog, LoggedDecision

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    logged: LoggedDecision
    durable: asyncio.Future[bool]


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
        up may be stored all the same.
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
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._waiting: deque[_Waiting] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def add(self, logged: LoggedDecision) -> bool:
        """Store a decision; True once it is durable, False if it is not (in time)."""
        if len(self._waiting) >= self._max_waiting:
            return False
        entry = _Waiting(logged, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        try:
            return await asyncio.wait_for(entry.durable, self._timeout_s)
        except TimeoutError:
            return False

    async def aclose(self) -> None:
        """Write what still waits."""
        if self._flusher is not None:
            await self._flusher

    async def _flush(self) -> None:
        while self._waiting:
            n_rows = min(len(self._waiting), self._max_batch)
            batch = [self._waiting.popleft() for _ in range(n_rows)]
            # Whoever gave up told its caller so: nothing is stored behind their back.
            await self._write([entry for entry in batch if not entry.durable.done()])

    async def _write(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            await self._log.add_decisions([entry.logged for entry in batch])
        except LogUnavailableError as error:
            _LOG.warning("%d decisions were not written: %s", len(batch), error)
            _settle(batch, durable=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            if len(batch) == 1:
                _LOG.exception("a decision cannot be written")
                _settle(batch, durable=False)
                return
            # One row that the tables refuse must not take its neighbours along.
            _LOG.warning("writing a batch one by one: %s", error)
            for entry in batch:
                await self._write([entry])
        else:
            _settle(batch, durable=True)


def _settle(batch: list[_Waiting], *, durable: bool) -> None:
    for entry in batch:
        if not entry.durable.done():
            entry.durable.set_result(durable)
