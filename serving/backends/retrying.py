"""Second attempts: few, apart from each other, and never so many that they add to an outage."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from serving.errors import BackendError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """How often and when to try again.

    Attributes
    ----------
    most
        Attempts after the first.
    share
        Retries for each first attempt, on average; what is not used is saved up to ``reserve``.
    backoff_s
        Before the first retry; doubles, and is spread by half of itself either way.
    max_wait_s
        Longest wait that an upstream may ask for; another arm is quicker than more.
    """

    most: int = 2
    share: float = 0.2
    reserve: float = 10.0
    backoff_s: float = 0.2
    max_wait_s: float = 3.0


class WorthRetryingError(Exception):
    """An attempt that failed before anything came back, with what it failed of.

    ``wait_s`` is how long the upstream asks to wait; None where it does not say.
    """

    def __init__(self, error: BackendError, *, wait_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_s = wait_s


class RetryBudget:
    """A bucket that first attempts fill and retries empty.

    Examples
    --------
    >>> budget = RetryBudget(share=0.5, reserve=1.0)
    >>> budget.take(), budget.take()
    (True, False)
    >>> budget.earn(); budget.earn(); budget.take()
    True
    """

    def __init__(self, *, share: float, reserve: float) -> None:
        self._share = share
        self._reserve = reserve
        self._saved = reserve

    def earn(self) -> None:
        """Note a first attempt."""
        self._saved = min(self._reserve, self._saved + self._share)

    def take(self) -> bool:
        """Spend one retry, if there is one."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


class Retrier:
    """Makes attempts until one succeeds or another would make no sense."""

    def __init__(self, config: RetryConfig, *, rng: random.Random) -> None:
        self._config = config
        self._budget = RetryBudget(share=config.share, reserve=config.reserve)
        self._rng = rng

    async def run(self, attempt: Callable[[], Awaitable[T]], *, give_up_at: float) -> T:
        """What ``attempt`` gives.

        Parameters
        ----------
        give_up_at
            On the event loop's clock; a wait that would pass it is not begun.

        Raises
        ------
        BackendError
            Of the last attempt.
        """
        self._budget.earn()
        retries = 0
        while True:
            try:
                return await attempt()
            except WorthRetryingError as failed:
                wait_s = self._wait_s(failed, retries)
                if not self._goes_on(wait_s, retries, give_up_at):
                    raise failed.error from failed
            await asyncio.sleep(wait_s)
            retries += 1

    def _wait_s(self, failed: WorthRetryingError, retries: int) -> float:
        spread = self._rng.uniform(0.5, 1.5)
        return max(self._config.backoff_s * 2.0**retries * spread, failed.wait_s or 0.0)

    def _goes_on(self, wait_s: float, retries: int, give_up_at: float) -> bool:
        in_time = asyncio.get_running_loop().time() + wait_s < give_up_at
        few = retries < self._config.most and wait_s <= self._config.max_wait_s
        return few and in_time and self._budget.take()
