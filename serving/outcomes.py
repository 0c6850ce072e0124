"""Writes outcomes in groups, in the background: nobody waits for them."""

import asyncio
import logging

from feedback.errors import LogUnavailableError
from feedback.log import DecisionLog
from feedback.outcome import Outcome

_LOG = logging.getLogger(__name__)


class OutcomeWriter:
    """A bounded queue in front of `DecisionLog.add_outcomes`. One event loop owns an instance.

    Parameters
    ----------
    max_batch
        Most rows in one transaction.
    max_waiting
        Most rows that are kept while the database is away; more are dropped, and their decisions
        teach no cost and latency.
    gather_s
        Seconds to wait for more before a transaction: ten rows cost little more than one.
    retry_s
        Seconds between attempts while it is away.
    """

    def __init__(
        self,
        log: DecisionLog,
        *,
        max_batch: int = 100,
        max_waiting: int = 10_000,
        gather_s: float = 0.05,
        retry_s: float = 0.5,
    ) -> None:
        self._log = log
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._gather_s = gather_s
        self._retry_s = retry_s
        self._waiting: list[Outcome] = []
        self._flusher: asyncio.Task[None] | None = None

    def put(self, outcome: Outcome) -> None:
        """Have an outcome written soon."""
        if len(self._waiting) >= self._max_waiting:
            _LOG.warning("too many outcomes wait; that of %s is dropped", outcome.decision_id)
            return
        self._waiting.append(outcome)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())

    async def aclose(self, *, timeout_s: float) -> None:
        """Write what still waits, for at most ``timeout_s`` seconds."""
        if self._flusher is None:
            return
        await asyncio.wait((self._flusher,), timeout=timeout_s)
        self._flusher.cancel()
        if self._waiting:
            _LOG.warning("%d outcomes were not written", len(self._waiting))

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._gather_s)
            batch = self._waiting[: self._max_batch]
            try:
                await self._write(batch)
            except LogUnavailableError as error:
                _LOG.warning("outcomes wait for the log: %s", error)
                await asyncio.sleep(self._retry_s)
            else:
                del self._waiting[: len(batch)]

    async def _write(self, batch: list[Outcome]) -> None:
        try:
            await self._log.add_outcomes(batch)
        except LogUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the other rows must not wait
            if len(batch) == 1:
                _LOG.exception("the outcome of %s cannot be written", batch[0].decision_id)
                return
            # One row that the tables refuse must not take its neighbours along.
            for outcome in batch:
                await self._write([outcome])
