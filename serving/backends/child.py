"""Child processes of ours: started with little, and never left behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "TZ", "SystemRoot")


def environment() -> dict[str, str]:
    """Variables that a child needs, and no others: it has no business with anybody's keys."""
    root = str(Path(__file__).resolve().parents[2])
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in paths if p), "PYTHONUNBUFFERED": "1"}


def own_pid() -> int:
    """Number of this process, for `die_with_parent`."""
    return os.getpid()


async def spawn(
    module: str, *arguments: str, line_limit: int = 1 << 24
) -> asyncio.subprocess.Process:
    """Run ``python -m module`` with pipes, in a session of its own.

    Its own session keeps a Ctrl-C in the terminal from it: the server decides when it stops.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        limit=line_limit,
        start_new_session=True,
    )


async def stop(process: asyncio.subprocess.Process, *, grace_s: float = 1.0) -> None:
    """End a child: its input closes, and a second later it is killed."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), grace_s)
    kill(process)
    await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a child at once, if it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when ``parent`` dies; elsewhere the closed pipe must do.

    The pipe alone is not enough: a stopped process never reads the end of it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died while we started
        os._exit(1)
