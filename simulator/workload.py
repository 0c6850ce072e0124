"""When queries arrive, and how long they wait for an edge that does one at a time."""

from pathlib import Path

import numpy as np

from simulator.errors import BadStudyError, BadTableError
from simulator.sources import open_source
from simulator.table import Floats


def even_arrivals(rounds: int, *, per_s: float = 1.0) -> Floats:
    """Arrival times in seconds at a steady rate, shape (rounds,)."""
    return np.arange(rounds) / per_s


def trace_arrivals(path: Path, rounds: int, *, speed: float = 1.0) -> Floats:
    """Arrival times of a trace with a column ``t_s``, repeated until there are ``rounds``.

    Parameters
    ----------
    speed
        How much faster than the trace was recorded; 2 halves every gap.

    Raises
    ------
    BadTableError
        If the trace has no usable times.
    """
    if speed <= 0.0:
        raise BadStudyError("--arrivals-speed", speed, "want a number above 0")
    source = open_source(path)
    if "t_s" not in source.names:
        raise BadTableError(path, "", "no column 't_s' (arrival time in seconds)")
    values = source.read(["t_s"], rounds)["t_s"]
    try:
        times = np.sort(np.array([float(value) for value in values]))
    except (TypeError, ValueError):
        raise BadTableError(path, "", "t_s has values that are not numbers") from None
    if len(times) < 2 or not np.isfinite(times).all():
        raise BadTableError(path, "", "t_s needs at least two finite times")
    times = times - times[0]
    # The gap between two rounds of the trace is its mean gap.
    length = times[-1] + times[-1] / (len(times) - 1)
    laps = -(-rounds // len(times))
    return np.concatenate([times + lap * length for lap in range(laps)])[:rounds] / speed


class EdgeQueue:
    """A single server: whoever comes while it is busy waits for its turn.

    Parameters
    ----------
    limit_s
        An arm whose predicted wait is longer is not eligible, as in the service.

    Examples
    --------
    >>> queue = EdgeQueue()
    >>> queue.serve(0.0, 5.0), queue.serve(1.0, 5.0)
    (5.0, 9.0)
    """

    def __init__(self, *, limit_s: float = 30.0) -> None:
        self.limit_s = limit_s
        self._free_at = 0.0

    def wait_s(self, now: float) -> float:
        """Predicted wait of a query that comes now, in seconds."""
        return max(0.0, self._free_at - now)

    def overloaded(self, now: float) -> bool:
        """Whether the wait is beyond the limit."""
        return self.wait_s(now) > self.limit_s

    def serve(self, now: float, service_s: float) -> float:
        """Take a query in; returns its latency, wait included."""
        latency_s = self.wait_s(now) + service_s
        self._free_at = now + latency_s
        return latency_s
