"""A circuit breaker: leaves an arm alone while it keeps failing."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When to open, and for how long.

    Attributes
    ----------
    consecutive
        Failures in a row that open it.
    failure_rate, window_s, min_calls
        Share of failures in (0, 1] that opens it, over the last ``window_s`` seconds, once there
        were ``min_calls`` answers or failures.
    open_s, max_open_s
        How long the first opening lasts; each that follows without a success in between lasts
        twice as long, up to the maximum.
    probes
        Attempts at a time while half open.
    probe_s
        Seconds after which an attempt that never reported no longer counts.
    """

    consecutive: int = 5
    failure_rate: float = 0.5
    window_s: float = 30.0
    min_calls: int = 10
    open_s: float = 2.0
    max_open_s: float = 30.0
    probes: int = 1
    probe_s: float = 10.0


class Breaker:
    """Opens on failures, lets a few probes through after a while, closes when one succeeds.

    `allows` only looks. Whoever really makes an attempt says so with `enter`, which is what limits
    the probes; who never calls it still gets an open breaker, only unlimited probes.

    Examples
    --------
    >>> now = [0.0]
    >>> breaker = Breaker(BreakerConfig(consecutive=2, open_s=1.0), clock=lambda: now[0])
    >>> breaker.record_failure(); breaker.record_failure()
    >>> breaker.state, breaker.allows(), breaker.retry_after_s
    ('open', False, 1.0)
    >>> now[0] = 1.0
    >>> breaker.state, breaker.allows()
    ('half_open', True)
    >>> breaker.record_success()
    >>> breaker.state
    'closed'
    """

    def __init__(self, config: BreakerConfig, *, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._recent: deque[tuple[float, bool]] = deque()
        self._failures_in_row = 0
        self._openings = 0
        self._open_until: float | None = None
        self._probes: list[float] = []

    @property
    def state(self) -> State:
        """Closed (attempts pass), open (none do), half open (a few do)."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half_open"

    @property
    def retry_after_s(self) -> float:
        """Seconds until attempts may pass again; 0 when they do now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def allows(self) -> bool:
        """Whether an attempt may be made now; changes nothing."""
        state = self.state
        if state == "half_open":
            return len(self._live_probes()) < self._config.probes
        return state == "closed"

    def enter(self) -> None:
        """Note that an attempt begins."""
        if self.state == "half_open":
            self._probes = [*self._live_probes(), self._clock()]

    def record(self, *, ok: bool) -> None:
        """Note how an attempt ended."""
        if ok:
            self.record_success()
        else:
            self.record_failure()

    def record_success(self) -> None:
        """Note an answer; an attempt that began before an opening does not end it."""
        if self.state == "open":
            return
        if self._open_until is not None:
            self._close()
        self._failures_in_row = 0
        self._remember(ok=True)

    def record_failure(self) -> None:
        """Note a failure; the end of an opening only ever moves later."""
        self._failures_in_row += 1
        self._remember(ok=False)
        state = self.state
        if state == "half_open" or (state == "closed" and self._failing()):
            self._open()

    def _open(self) -> None:
        last_s = min(self._config.open_s * 2.0 ** min(self._openings, 60), self._config.max_open_s)
        self._openings += 1
        self._open_until = max(self._clock() + last_s, self._open_until or 0.0)
        self._probes.clear()

    def _close(self) -> None:
        self._open_until = None
        self._openings = 0
        self._probes.clear()
        self._recent.clear()

    def _failing(self) -> bool:
        if self._failures_in_row >= self._config.consecutive:
            return True
        failed = sum(not ok for _, ok in self._recent)
        enough = len(self._recent) >= self._config.min_calls
        return enough and failed >= self._config.failure_rate * len(self._recent)

    def _remember(self, *, ok: bool) -> None:
        now = self._clock()
        self._recent.append((now, ok))
        while self._recent and self._recent[0][0] < now - self._config.window_s:
            self._recent.popleft()

    def _live_probes(self) -> list[float]:
        oldest = self._clock() - self._config.probe_s
        return [began for began in self._probes if began > oldest]
