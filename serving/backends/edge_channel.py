"""The worker's end of the pipes to its parent.

JSON, one object a line. In: ``{"do": "generate", "id", "request"}`` and ``{"do": "cancel", "id"}``;
the end of the input ends the process. Out: ``ready`` or ``failed`` once, ``beat`` now and then, and
for a query ``started``, any number of ``step`` and ``text``, then ``done``, ``cancelled`` or
``rejected``.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any


class Channel:
    """Queries in, messages out. Two threads of its own listen, and send beats.

    Parameters
    ----------
    output
        File descriptor to write messages to.
    beat_s
        Seconds between beats.
    """

    def __init__(self, output: int, *, beat_s: float) -> None:
        self._output = os.fdopen(output, "wb", buffering=0)
        self._beat_s = beat_s
        self._writing = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
        self._cancelled = 0
        for work in (self._listen, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def jobs(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Id and request of every query, as they come; never ends."""
        while True:
            yield self._jobs.get()

    def cancelled(self, job_id: int) -> bool:
        """Whether nobody waits for this answer any more."""
        return self._cancelled >= job_id  # ids grow, and there is one query at a time

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a message; ends the process when nobody reads."""
        line = memoryview(json.dumps(message).encode() + b"\n")
        with self._writing:
            try:
                while line:
                    line = line[self._output.write(line) or 0 :]
            except OSError:
                os._exit(0)

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["do"] == "cancel":
                self._cancelled = message["id"]
            else:
                self._jobs.put((message["id"], message["request"]))
        os._exit(0)  # the parent is gone or wants us gone; native code cannot be asked politely

    def _beat(self) -> None:
        pause = threading.Event()
        while True:
            self.say({"is": "beat"})
            pause.wait(self._beat_s)
