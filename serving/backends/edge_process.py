"""Supervision of one edge worker: started, watched, killed when it hangs, started again."""

import asyncio
import contextlib
import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from serving.backends import child

State: TypeAlias = Literal["starting", "ready", "claimed", "busy", "down", "closed"]

_TICK_S = 0.25
_LAST = frozenset({"done", "cancelled", "rejected", "crashed"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that things may take.

    Attributes
    ----------
    load_s
        From the start of the process until the model is loaded.
    hang_s
        Without a beat, or without a step of the query in work.
    cancel_s
        From a cancellation until the worker is idle again.
    backoff_s, max_backoff_s
        Before the first restart, doubling with each that follows soon, and at most.
    """

    load_s: float = 60.0
    hang_s: float = 30.0
    cancel_s: float = 5.0
    backoff_s: float = 0.25
    max_backoff_s: float = 60.0


@dataclass(slots=True, eq=False)
class Job:
    """One query's hold on a worker: the worker's messages about it, the last of which ends it."""

    job_id: int
    messages: "asyncio.Queue[Mapping[str, Any]]" = field(default_factory=asyncio.Queue)
    cancelled: bool = False


class EdgeProcess:
    """One worker process and whoever keeps it alive.

    Hangs are counted in ticks of the event loop, not read off a clock: when this very process was
    stopped or busy, the worker's messages are read before it is blamed.

    Parameters
    ----------
    options
        For the worker, as `serving.backends.edge_worker` takes them.
    on_change
        Called when the worker became ready, idle or unusable.
    """

    def __init__(
        self, options: Mapping[str, Any], limits: Limits, *, on_change: Callable[[], None]
    ) -> None:
        self._options = options
        self._limits = limits
        self._on_change = on_change
        self._ids = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._decided = asyncio.Event()
        self._job: Job | None = None
        self._quiet_ticks = self._stuck_ticks = 0
        self._fault = ""
        self._stderr: deque[str] = deque(maxlen=5)
        self.state: State = "down"
        self.reason = "not started"
        self.ready: Mapping[str, Any] = {}

    @property
    def pid(self) -> int | None:
        """Of the worker process that runs now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the worker; returns when it is ready or is known to be unusable for now."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise())
        await self._decided.wait()

    def claim(self) -> Job:
        """Keep a ready worker for one query; `submit` it or give the worker back by `end`."""
        self.state = "claimed"
        self._job = Job(next(self._ids))
        return self._job

    def submit(self, job: Job, request: Mapping[str, Any]) -> None:
        """Hand the query to the worker; if that died meanwhile, ``job`` was told."""
        if job is self._job:
            self.state = "busy"
            self._stuck_ticks = 0
            self._send({"do": "generate", "id": job.job_id, "request": request})

    def end(self, job: Job) -> None:
        """Stop work on a query, if there is any left; the worker says itself when it is idle."""
        if job is not self._job or job.cancelled:
            return
        if self.state == "claimed":
            self._job = None
            self._become("ready")
        else:
            job.cancelled = True
            self._stuck_ticks = 0
            self._send({"do": "cancel", "id": job.job_id})

    async def aclose(self) -> None:
        """Stop the worker for good."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await supervisor
        self._fail_job("the server is stopping")
        self.reason = "closed"
        self._become("closed")

    async def _supervise(self) -> None:
        failures = 0
        while True:
            came_up = await self._live()
            # One that worked for a while starts the count anew.
            failures = 1 if came_up else failures + 1
            doubled = self._limits.backoff_s * 2.0 ** min(failures - 1, 30)
            await asyncio.sleep(min(doubled, self._limits.max_backoff_s))

    async def _live(self) -> bool:
        """One life of the worker; returns whether it answered anything."""
        self.state, self._fault = "starting", ""
        self._answered = False
        self._quiet_ticks = self._stuck_ticks = 0
        try:
            options = json.dumps({**self._options, "parent": os.getpid()})
            process = await child.spawn("serving.backends.edge_worker", options)
        except OSError as error:
            self._die(f"cannot start a process: {error.strerror}")
            return False
        self._process = process
        self._stderr.clear()
        watchers = [asyncio.create_task(self._watch()), asyncio.create_task(self._keep_stderr())]
        try:
            await self._read(process)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            # Not killed at once: a signal to one that just died reaps it behind asyncio's back,
            # which then cannot tell what it died of.
            await child.stop(process)
        self._die(self._fault or self._obituary(process))
        return self._answered

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - spawned with a pipe
        try:
            while line := await process.stdout.readline():
                self._on_message(json.loads(line))
        except (ValueError, KeyError) as error:
            self._fault = f"the worker sent what is not a message ({type(error).__name__})"

    def _on_message(self, message: Mapping[str, Any]) -> None:
        self._quiet_ticks = 0
        kind = message["is"]
        if kind == "ready":
            self.ready = message
            self.reason = "ready"
            self._become("ready")
        elif kind == "failed":
            self._fault = message["reason"]
        elif self._job is not None and message.get("id") == self._job.job_id:
            self._on_step(self._job, message)

    def _on_step(self, job: Job, message: Mapping[str, Any]) -> None:
        if not job.cancelled:  # else the clock for its end already runs
            self._stuck_ticks = 0
        job.messages.put_nowait(message)
        if message["is"] in _LAST:
            self._job = None
            self._answered = True
            self._become("ready")

    async def _watch(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            ticks += 1
            self._quiet_ticks += 1
            self._stuck_ticks += self.state == "busy"
            self._fault = self._fault or self._hanging(ticks)
            if self._fault and self._process is not None:
                child.kill(self._process)

    def _hanging(self, ticks: int) -> str:
        limits = self._limits
        stuck_s = self._stuck_ticks * _TICK_S
        if self.state == "starting":
            late = ticks * _TICK_S > limits.load_s
            return f"the model was not loaded within {limits.load_s:g} s" if late else ""
        if self._quiet_ticks * _TICK_S > limits.hang_s:
            return f"the worker gave no sign of life for {limits.hang_s:g} s"
        if self._job is not None and self._job.cancelled and stuck_s > limits.cancel_s:
            return f"the worker did not stop a query within {limits.cancel_s:g} s"
        if stuck_s > limits.hang_s:
            return f"the worker made no step for {limits.hang_s:g} s"
        return ""

    async def _keep_stderr(self) -> None:
        process = self._process
        assert process is not None  # noqa: S101 - set before this starts
        assert process.stderr is not None  # noqa: S101 - spawned with a pipe
        while chunk := await process.stderr.read(4096):
            self._stderr.extend(chunk.decode(errors="replace").splitlines()[-5:])

    def _obituary(self, process: asyncio.subprocess.Process) -> str:
        code = process.returncode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        last = self._stderr[-1].strip()[:200] if self._stderr else ""
        return f"the worker {how}" + (f" ({last})" if last else "")

    def _die(self, reason: str) -> None:
        self.reason = reason
        self.state = "down"
        self._fail_job(reason)
        self._become("down")

    def _fail_job(self, reason: str) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.messages.put_nowait({"is": "crashed", "reason": reason})

    def _become(self, state: State) -> None:
        self.state = state
        if state != "starting":
            self._decided.set()
        self._on_change()

    def _send(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return  # the end of its output tells the rest
        process.stdin.write(json.dumps(message).encode() + b"\n")
