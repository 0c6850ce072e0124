"""The edge workers and the queue before them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from serving.backends.base import Load
from serving.backends.edge_process import EdgeProcess, Job, Limits
from serving.errors import BackendOverloadedError, BackendUnavailableError

Claim: TypeAlias = tuple[EdgeProcess, Job]

_UP = ("ready", "claimed", "busy")


class ServiceTime:
    """How long an answer takes, from those given: exponential means of tokens and speeds.

    Examples
    --------
    >>> service = ServiceTime()
    >>> for _ in range(50):
    ...     service.record(prompt_s=1.0, n_tokens=20, decode_s=2.0)
    >>> round(service.expected_s, 2)
    3.0
    """

    def __init__(self, *, smoothing: float = 0.2) -> None:
        self._smoothing = smoothing
        # Before the first answer: a small model on one core, and a short answer.
        self._prompt_s, self._n_tokens, self._tokens_per_s = 1.0, 80.0, 40.0

    @property
    def expected_s(self) -> float:
        """Seconds from the start of the next answer to its end."""
        return self._prompt_s + self._n_tokens / self._tokens_per_s

    def record(self, *, prompt_s: float, n_tokens: int, decode_s: float) -> None:
        """Take in one answer."""
        self._prompt_s += self._smoothing * (prompt_s - self._prompt_s)
        self._n_tokens += self._smoothing * (n_tokens - self._n_tokens)
        if n_tokens and decode_s > 0:
            self._tokens_per_s += self._smoothing * (n_tokens / decode_s - self._tokens_per_s)


class WorkerPool:
    """Lends each query a worker of its own, first come, first served.

    Parameters
    ----------
    max_queue, max_wait_s
        Queries that may wait, and the longest predicted wait, in seconds.
    """

    def __init__(
        self, arm_id: str, *, max_queue: int, max_wait_s: float, clock: Callable[[], float]
    ) -> None:
        self._arm_id = arm_id
        self._max_queue = max_queue
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._workers: list[EdgeProcess] = []
        self._waiting: deque[asyncio.Future[Claim]] = deque()
        self._running: dict[Job, float] = {}
        self.service = ServiceTime()

    @property
    def up(self) -> list[EdgeProcess]:
        """The workers that answer."""
        return [worker for worker in self._workers if worker.state in _UP]

    @property
    def ready(self) -> Mapping[str, Any]:
        """What a worker said of its model; empty until one was up."""
        return next((worker.ready for worker in self._workers if worker.ready), {})

    @property
    def reason(self) -> str:
        """Why the first worker is down."""
        return self._workers[0].reason if self._workers else "not started"

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the worker processes that run now."""
        return tuple(pid for worker in self._workers if (pid := worker.pid) is not None)

    async def start(self, options: Mapping[str, Any], limits: Limits, *, n_workers: int) -> None:
        """Start the workers and wait until they are ready or known to be unusable."""
        if self._workers:
            return
        self._workers = [
            EdgeProcess(options, limits, on_change=self._hand_over) for _ in range(n_workers)
        ]
        await asyncio.gather(*(worker.start() for worker in self._workers))

    async def aclose(self) -> None:
        """Stop the workers; whoever waits is told."""
        await asyncio.gather(*(worker.aclose() for worker in self._workers))
        self._hand_over()

    def load(self) -> Load:
        """Queue, running queries, and the wait that a new query would have."""
        return Load(len(self._waiting), len(self._running), self._wait_s())

    @asynccontextmanager
    async def worker(self, deadline: float, *, why_down: str) -> AsyncIterator[Claim]:
        """A worker and one's hold on it, at once or after a wait in the queue.

        Parameters
        ----------
        deadline
            On the event loop's clock.
        why_down
            What to say when no worker is up.

        Raises
        ------
        BackendUnavailableError
            If no worker is up.
        BackendOverloadedError
            If the queue is full or the wait too long.
        """
        if not self.up:
            raise BackendUnavailableError(self._arm_id, why_down)
        worker, job = self._free() or await self._queue(deadline)
        self._running[job] = self._clock()
        try:
            yield worker, job
        finally:
            del self._running[job]
            worker.end(job)

    def _free(self) -> Claim | None:
        free = next((worker for worker in self._workers if worker.state == "ready"), None)
        return None if free is None else (free, free.claim())

    async def _queue(self, deadline: float) -> Claim:
        self._check_room()
        place: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout_at(deadline):
                return await place
        except (TimeoutError, asyncio.CancelledError) as error:
            self._leave(place)
            if isinstance(error, TimeoutError):
                raise self._overloaded("the wait was longer than predicted") from None
            raise

    def _leave(self, place: "asyncio.Future[Claim]") -> None:
        if place in self._waiting:
            self._waiting.remove(place)
        if place.done() and not place.cancelled() and place.exception() is None:
            worker, job = place.result()  # it came in the very moment of giving up
            worker.end(job)

    def _check_room(self) -> None:
        if len(self._waiting) >= self._max_queue:
            raise self._overloaded(f"{len(self._waiting)} queries wait already")
        wait_s = self._wait_s()
        if wait_s > self._max_wait_s:
            raise self._overloaded(f"the wait would be about {wait_s:.0f} s")

    def _overloaded(self, why: str) -> BackendOverloadedError:
        return BackendOverloadedError(self._arm_id, why, max(1.0, self._wait_s()))

    def _hand_over(self) -> None:
        """Give free workers to those who wait longest; send them away when none is left."""
        while self._waiting and (self._waiting[0].done() or not self.up or self._any_ready()):
            place = self._waiting.popleft()
            if place.done():
                continue
            claim = self._free()
            if claim is not None:
                place.set_result(claim)
            else:
                place.set_exception(BackendUnavailableError(self._arm_id, self.reason))

    def _any_ready(self) -> bool:
        return any(worker.state == "ready" for worker in self._workers)

    def _wait_s(self) -> float:
        """Predicted seconds until a query that came now would start."""
        n_up = len(self.up)
        if not n_up or self._any_ready():
            return 0.0
        expected_s, now = self.service.expected_s, self._clock()
        # A long answer is likely to go on: it keeps a part of the mean ahead of it.
        left = (max(expected_s - (now - at), 0.2 * expected_s) for at in self._running.values())
        return (sum(left) + len(self._waiting) * expected_s) / n_up
