"""Group commit: who comes while a commit is on its way shares the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from feedback.errors import LogUnavailableError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Waiting(Generic[T, R]):
    item: T
    result: asyncio.Future[R]


class Grouped(Generic[T, R]):
    """Collects single calls into calls of many. One event loop owns an instance.

    A lone call waits for nobody; under load the groups grow by themselves.

    Parameters
    ----------
    flush
        Does the work for a group; returns a result, or an exception to raise, for each item.
    max_items
        Most items in a group.
    timeout_s
        Longest wait of one caller, in seconds. An item whose caller has given up is left out,
        unless its group is already on its way.
    impatient_s
        Longest wait after somebody has waited in vain, until a group gets through again; None is
        as patient as ever.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        max_items: int,
        timeout_s: float,
        impatient_s: float | None = None,
    ) -> None:
        self._flush = flush
        self._max_items = max_items
        self._timeout_s = timeout_s
        self._impatient_s = timeout_s if impatient_s is None else min(timeout_s, impatient_s)
        self._stuck = False
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(self, item: T) -> R:
        """The result of ``item``.

        Raises
        ------
        LogUnavailableError
            After ``timeout_s``, or ``impatient_s``.
        """
        entry: _Waiting[T, R] = _Waiting(item, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        patience_s = self._impatient_s if self._stuck else self._timeout_s
        try:
            return await asyncio.wait_for(entry.result, patience_s)
        except TimeoutError:
            self._stuck = True
            raise LogUnavailableError(f"no answer within {patience_s:g} s") from None

    async def aclose(self) -> None:
        """Do what still waits."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while self._waiting:
            n_items = min(len(self._waiting), self._max_items)
            group = [self._waiting.popleft() for _ in range(n_items)]
            await self._work_on([entry for entry in group if not entry.result.done()])

    async def _work_on(self, group: Sequence[_Waiting[T, R]]) -> None:
        if not group:
            return
        try:
            results = await self._flush([entry.item for entry in group])
            self._stuck = False
        except LogUnavailableError as error:
            results = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            if len(group) > 1:
                # One item that the tables refuse must not take its neighbours along.
                for entry in group:
                    await self._work_on([entry])
                return
            results = [error]
        for entry, result in zip(group, results, strict=True):
            _settle(entry.result, result)


def _settle(future: asyncio.Future[R], result: R | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
