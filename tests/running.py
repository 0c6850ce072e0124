"""A real server process for tests: started on a port of its own, stopped by its process id."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from feedback.postgres import EmbeddedPostgres

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = REPOSITORY / ".pointsman" / "test-models"
STAND_IN_ARM = {"id": "cloud", "tier": "cloud", "backend": "stand_in"}
_READY = re.compile(r"is ready on (http://\S+)")
_START_S = 120.0


def clean_environment(**more):
    """This process's environment without any setting, and with where exported models are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    return {**kept, "POINTSMAN_FEATURES__CACHE_DIR": str(MODELS), "NO_COLOR": "1", **more}


class RunningServer:
    """`pointsman serve` in a process of its own, with a data folder of its own.

    Parameters
    ----------
    settings
        As in the YAML file; what is missing has its default.
    """

    def __init__(self, settings=None, *, data_dir=None, arguments=()):
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="pointsman-e2e-"))
        self._settings = settings or {}
        self._arguments = arguments
        self._log = None
        self.process = None
        self.base_url = ""
        self.port = 0

    @property
    def log(self):
        """Everything that the server wrote, since it was first started."""
        return (self.data_dir / "server.txt").read_text(errors="replace")

    def start(self, timeout_s=_START_S):
        """Start, and wait until it says that it is ready; again on the port it had before."""
        config = self.data_dir / "settings.yaml"
        config.write_text(json.dumps(self._settings))
        path = self.data_dir / "server.txt"
        before = path.stat().st_size if path.exists() else 0
        with path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pointsman", "serve", "--config", str(config),
                 "--data-dir", str(self.data_dir), "--port", str(self.port), *self._arguments],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=clean_environment(), cwd=REPOSITORY,
            )  # fmt: skip
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = _READY.search(path.read_text(errors="replace")[before:])
            if found:
                self.base_url = found[1]
                self.port = int(found[1].rsplit(":", 1)[1])
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.log[-4000:]}")

    def client(self, key=None, **options):
        """An HTTP client of this server."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60, **options)

    def cli(self, *arguments):
        """Another command on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "pointsman", *arguments],
            env=clean_environment(POINTSMAN_DATABASE__DATA_DIR=str(self.data_dir)),
            cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def key(self, *scopes):
        """A new API key with these scopes."""
        asked = [word for scope in scopes for word in ("--scope", scope)]
        return json.loads(self.cli("keys", "create", *asked, "--json").stdout)["key"]

    def signal(self, number):
        """Send a signal to the server's process alone."""
        self.process.send_signal(number)

    def stop(self, timeout_s=60.0):
        """Ask it to stop; the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self):
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def clear(self):
        """Stop everything that is left and remove the data folder."""
        self.kill()
        EmbeddedPostgres(self.data_dir / "postgres").stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)


def judged_answer(client, text, *, worth, **fields):
    """Ask, and have a grader judge what comes back: by its arm, ``worth[arm]``."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
    answer = client.post("/v1/chat/completions", json=body)
    score = {
        "decision_id": answer.headers["x-pointsman-decision-id"],
        "metric": "judge",
        "value": worth[answer.headers["x-pointsman-arm"]],
        "source": "grader",
    }
    client.post("/v1/feedback", json=score).raise_for_status()


def until(what, timeout_s=20.0, every_s=0.05):
    """Wait until ``what()`` is true, and return it."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every_s)
