"""The total time that one answer may take."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from serving.errors import BackendError, BackendTimeoutError, BackendUnavailableError

T = TypeVar("T")


class Deadline:
    """Bounds everything that is awaited for one answer; a stopping server can cut it short.

    Parameters
    ----------
    total_s
        Seconds from now, on the event loop's clock.
    """

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._at = asyncio.get_running_loop().time() + total_s
        self._guard: asyncio.Timeout | None = None
        self._cut = False

    @property
    def over(self) -> bool:
        """Whether time is up."""
        return asyncio.get_running_loop().time() >= self._at

    async def bound(self, work: Awaitable[T], *, arm_id: str) -> T:
        """What ``work`` gives, if it does so in time. One piece of work at a time.

        Raises
        ------
        BackendTimeoutError
            When time is up; the work is cancelled.
        BackendUnavailableError
            When the server is stopping.
        """
        guard = asyncio.timeout_at(self._at)
        try:
            async with guard:
                self._guard = guard
                try:
                    return await work
                finally:
                    self._guard = None
        except TimeoutError:
            raise self._error(arm_id) from None

    def cut(self) -> None:
        """Make time be up now."""
        self._cut = True
        self._at = asyncio.get_running_loop().time()
        if self._guard is not None and not self._guard.expired():
            self._guard.reschedule(self._at)

    def _error(self, arm_id: str) -> BackendError:
        if self._cut:
            return BackendUnavailableError(arm_id, "the server is stopping; try again")
        return BackendTimeoutError(arm_id, f"no full answer within {self._total_s:g} s")
