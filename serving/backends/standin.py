"""A stand-in for a cloud model, until one is configured: a local server that says what it is.

``python -m serving.backends.standin --port 0`` runs it alone.
"""

import argparse
import asyncio
import contextlib
import json
import random
import socket
import sys
import threading

import uvicorn

from serving.backends import child
from serving.backends.standin_app import StandInApp
from serving.errors import BackendUnavailableError
from serving.questions import load_questions

_HOST = "127.0.0.1"
_START_S = 20.0
_MAX_BACKOFF_S = 30.0


class StandIn:
    """Runs the stand-in as a child process, and again when it dies; it dies with this process."""

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """Where it listens; known once it was started."""
        return f"http://{_HOST}:{self._port}/v1"

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it listens.

        Raises
        ------
        BackendUnavailableError
            If it does not come up.
        """
        if self._supervisor is None:
            await self._spawn()
            self._supervisor = asyncio.create_task(self._supervise())

    async def aclose(self) -> None:
        """Stop it."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await supervisor
        if self._process is not None:
            await child.stop(self._process)

    async def _spawn(self) -> None:
        arguments = ("--port", str(self._port), "--child-of", str(child.own_pid()))
        process = await child.spawn("serving.backends.standin", *arguments)
        self._process = process
        assert process.stdout is not None  # noqa: S101 - spawned with a pipe
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _START_S)
            self._port = json.loads(line)["port"]
        except (TimeoutError, ValueError, OSError) as error:
            await child.stop(process, grace_s=0.0)
            raise BackendUnavailableError("stand-in", "its process did not start") from error

    async def _supervise(self) -> None:
        pause_s = 0.1
        while True:
            process = self._process
            assert process is not None  # noqa: S101 - started before
            # Whatever it says is read away: a full pipe would stop it.
            await asyncio.gather(process.wait(), _drain(process.stdout), _drain(process.stderr))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_BACKOFF_S)
            with contextlib.suppress(BackendUnavailableError):
                await self._spawn()


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(4096):
        pass


def main() -> None:
    """Entry point: serve until the end of the input (as a child) or a signal."""
    parser = argparse.ArgumentParser(description="A labelled stand-in for a cloud model.")
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0 lets the system choose")
    parser.add_argument("--child-of", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child_of:
        child.die_with_parent(arguments.child_of)
    listener = socket.create_server((_HOST, arguments.port), backlog=1024)
    config = uvicorn.Config(
        StandInApp(
            rng=random.Random(0),  # noqa: S311 - which requests fail is no secret
            key={question.text: question.answer for question in load_questions()},
        ),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    if arguments.child_of:
        threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


def _end_with_input(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
