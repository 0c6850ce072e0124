"""A learner in a thread of its own, with its own event loop and its own connections."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

import structlog

from serving.learner import Learner, LearnerStatus

_JOIN_S = 15.0
_LOG = structlog.get_logger("pointsman")


class LearnerThread:
    """Keeps learning off the event loop that serves.

    Parameters
    ----------
    make
        Called once, in the thread: a policy belongs to the thread that made it.
    """

    def __init__(self, make: Callable[[], Learner]) -> None:
        self._make = make
        self._thread = threading.Thread(target=self._main, name="learner", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._learner: Learner | None = None
        self._told_to_stop = False
        self._failure: str | None = None

    @property
    def status(self) -> LearnerStatus:
        """How learning goes; read from any thread."""
        if self._learner is not None:
            return self._learner.status
        return LearnerStatus(alive=self._thread.is_alive(), error=self._failure)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    async def stop(self) -> None:
        """Publish what was learned and end; safe to call twice."""
        self._told_to_stop = True
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            # The loop may end by itself between the question and the call.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, _JOIN_S)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - learning may die, serving may not
            self._failure = f"{type(error).__name__}: {error}"
            _LOG.exception("the learner died")

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        learner = self._learner = self._make()
        try:
            if not self._told_to_stop:
                await learner.run(self._stop)
        finally:
            await learner.aclose()
