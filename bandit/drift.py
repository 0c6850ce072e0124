"""Has a stream of numbers changed its mean? river's detectors, scaled to the stream's own noise.

The only module that imports river. It is imported when the first value arrives: whoever only
predicts never needs it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from bandit.errors import BanditError

DetectorName: TypeAlias = Literal["both", "page-hinkley", "adwin", "off"]
DETECTORS: tuple[DetectorName, ...] = ("both", "page-hinkley", "adwin", "off")

_FULL = 512
"""Values after which a detector starts anew from the second half of them: bounded memory."""
_SHORTEST = 5
"""Fewest values that a change is dated by."""
_LONGEST = 300.0
"""Values that the estimate of the noise rests on, at most."""
_WEIGHT = 20.0
"""Values that the noise assumed at first counts for."""
_CLIPPED = 0.7
"""Standard deviation that is left when values are clipped, at first."""
_CLIPPED_LEAST = 0.04
_SMALL = 0.5
"""Share of the noise assumed at first that there is at least."""
_SUREST = 0.95
"""Models that are surer of a vote than this are not believed when its noise is reckoned."""
_LOPSIDED = 0.05
_LIMIT = 1.5
"""Values further out, in standard deviations, count as this far out: one cannot raise an alarm."""


class BadDetectorError(BanditError):
    """A detector's setting outside its range."""

    def __init__(self, name: str, value: object, want: str) -> None:
        super().__init__(f"detector.{name} = {value!r}; want {want}")
        self.name = name


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """When a change counts as one; all in standard deviations of the stream's noise.

    Attributes
    ----------
    name
        Which of river's detectors look: ``page-hinkley`` (Page, "Continuous inspection schemes",
        Biometrika 1954) finds jumps fast, ``adwin`` (Bifet and Gavalda, "Learning from
        time-changing data with adaptive windowing", 2007) finds slow changes; ``both``, or ``off``.
    tolerance
        Change that Page-Hinkley puts up with (its delta), above 0.
    threshold
        Sum of what goes beyond it at which Page-Hinkley raises its alarm (its lambda), above 0.
    confidence
        Of ADWIN, in (0, 1): the probability that it takes chance for a change.
    least
        Values before the first alarm, at least 5.
    noise
        Standard deviation assumed until the stream shows its own, above 0.
    anchor
        Values, at least 0, that speak for a mean of 0 before the first one came.
    """

    name: DetectorName = "both"
    tolerance: float = 0.35
    threshold: float = 26.0
    confidence: float = 0.0002
    least: int = 20
    noise: float = 0.25
    anchor: int = 0

    def __post_init__(self) -> None:
        if self.name not in DETECTORS:
            raise BadDetectorError("name", self.name, f"one of {DETECTORS}")
        for name in ("tolerance", "threshold", "noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise BadDetectorError(name, value, "a number above 0")
        if not 0.0 < self.confidence < 1.0:
            raise BadDetectorError("confidence", self.confidence, "a number in (0, 1)")
        if self.least < _SHORTEST:
            raise BadDetectorError("least", self.least, f"at least {_SHORTEST}")
        if self.anchor < 0:
            raise BadDetectorError("anchor", self.anchor, "at least 0")


def for_votes(config: DetectorConfig) -> DetectorConfig:
    """The same for votes that are 0 or 1, whose noise is known: see `vote_noise`.

    Less is put up with, and a mean of 0 is trusted more, for one vote says little. Chosen with
    `simulator.detecting`: at .92, .98 and .6 five in a thousand streams of 2,000 raise an alarm.
    """
    return replace(config, tolerance=0.2, anchor=200)


def vote_noise(expected: float) -> float:
    """Standard deviation of a vote that is 0 or 1, and a little more the more lopsided it is.

    Rare votes come in runs that a normal stream of the same variance has not; that little makes
    false alarms about as rare at every level.

    Examples
    --------
    >>> vote_noise(0.5)
    0.5
    >>> round(vote_noise(0.92), 3)
    0.313
    """
    p = min(_SUREST, max(1.0 - _SUREST, expected))
    return math.sqrt(p * (1.0 - p)) + _LOPSIDED * abs(1.0 - 2.0 * p)


_Value: TypeAlias = tuple[float, float | None]
"""With its noise, where that is known."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a detector found: since ``n`` values the mean lies at ``mean``."""

    mean: float
    n: int


class Detector:
    """Watches one stream whose mean is about 0 while nothing changes, such as residuals.

    Noise is measured by differences of neighbours, which a change of the mean leaves alone, or said
    with every value. State is the values since the last alarm (at most 512): restoring feeds them
    again, so that it is exact whatever river keeps inside.

    Parameters
    ----------
    saved
        What `state` gave, to continue from.

    Examples
    --------
    >>> detector = Detector(DetectorConfig(noise=0.1))
    >>> any(detector.update(0.1 * (-1) ** i) for i in range(100))
    False
    >>> found = [detector.update(0.1 * (-1) ** i - 0.4) for i in range(40)]
    >>> next(change for change in found if change).mean < -0.3
    True
    """

    def __init__(self, config: DetectorConfig, saved: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self._floor = (_SMALL * config.noise) ** 2
        self._waiting: list[_Value]
        state = saved or {
            "noise": [_WEIGHT, config.noise**2, _CLIPPED**2],
            "last": None,
            "values": (),
        }
        self._begin(state["noise"], state["last"], state.get("centre", 0.0))
        self._waiting = [*zip(state["values"], _noises(state), strict=True)]

    def _begin(
        self, noise: Sequence[float], last: Sequence[float] | None, centre: float | None
    ) -> None:
        """Start from a known noise, and a mean to hold on to if there is one."""
        self._start = (tuple(noise), last, centre)
        self._weight, self._raw, self._clipped = noise
        self._last = last
        self._values: list[_Value] = []
        self._waiting = []
        self._parts: tuple[Any, ...] | None = None

    def update(self, value: float, noise: float | None = None) -> Change | None:
        """Count a finite value; the change, if this is the value that gives it away.

        Parameters
        ----------
        noise
            Its standard deviation where that is known, above 0.
        """
        if self._waiting:
            self._feed(self._waiting)
        if not self._step((value, noise)):
            if len(self._values) >= _FULL:
                self._halve()
            return None
        change = latest_change([value for value, _ in self._values])
        self._begin((self._weight, self._raw, self._clipped), None, None)
        return change

    def _feed(self, values: list[_Value]) -> None:
        self._waiting = []
        for value in values:
            self._step(value)

    def _halve(self) -> None:
        early, late = self._values[: _FULL // 2], self._values[_FULL // 2 :]
        known = [value / noise for value, noise in early if noise is not None]
        centre = math.fsum(known) / len(known) if known else None
        self._begin((self._weight, self._raw, self._clipped), None, centre)
        self._feed(late)

    def _step(self, one: _Value) -> bool:
        if self._parts is None:
            self._parts = self._made()
        self._values.append(one)
        value, noise = one
        z = self._measured(value) if noise is None else value / noise
        found = False
        for part in self._parts:
            part.update(z)
            found = found or part.drift_detected
        return found

    def _measured(self, value: float) -> float:
        """The value in standard deviations of what came before it, which it then adds to."""
        raw, clipped, last = self._raw, self._clipped, self._last
        within = value / math.sqrt(max(self._floor, raw))
        if within > _LIMIT:
            within = _LIMIT
        elif within < -_LIMIT:
            within = -_LIMIT
        z = within / math.sqrt(max(_CLIPPED_LEAST, clipped))
        # Half the mean square of differences is the variance, wherever the mean is.
        if last is not None:
            a, b = value - last[0], within - last[1]
            weight = self._weight = min(_LONGEST, self._weight + 1.0)
            self._raw = raw + (0.5 * a * a - raw) / weight
            self._clipped = clipped + (0.5 * b * b - clipped) / weight
        self._last = (value, within)
        return z

    def _made(self) -> tuple[Any, ...]:
        from river.drift import ADWIN, PageHinkley  # noqa: PLC0415 - takes a second to import

        config, parts = self.config, []
        if config.name in ("both", "page-hinkley"):
            centre = self._start[2]
            anchor = 0 if centre is None else config.anchor
            hinkley = PageHinkley(
                min_instances=anchor + config.least,
                delta=config.tolerance,
                threshold=config.threshold,
                alpha=1.0,
            )
            for _ in range(anchor):
                hinkley.update(centre)
            parts.append(hinkley)
        if config.name in ("both", "adwin"):
            parts.append(ADWIN(delta=config.confidence, clock=8, grace_period=config.least))
        return tuple(parts)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        noise, last, centre = self._start
        values = self._waiting or self._values
        return {
            "noise": noise,
            "last": last,
            "centre": centre,
            "values": [value for value, _ in values],
            "noises": [noise for _, noise in values],
        }


def _noises(state: Mapping[str, Any]) -> list[float | None]:
    """Of every value of a state; older ones do not say."""
    known = state.get("noises")
    return [None] * len(state["values"]) if known is None else [*known]


def latest_change(values: list[float]) -> Change:
    """Where the mean most likely changed last, and what it has been since.

    The split into a start and an end whose means ``a`` and ``b`` give the largest likelihood ratio
    under normal noise, ``(a - b)² m n / (m + n)`` for ``m`` and ``n`` values.

    Examples
    --------
    >>> latest_change([0.1, -0.1] * 10 + [-0.5] * 6)
    Change(mean=-0.5, n=6)
    """
    total, size = math.fsum(values), len(values)
    end, best, change = 0.0, -1.0, Change(total / max(1, size), size)
    for n, value in enumerate(reversed(values), start=1):
        end += value
        m = size - n
        if min(m, n) < _SHORTEST:
            continue
        apart = (total - end) / m - end / n
        ratio = apart * apart * m * n / size
        if ratio > best:
            best, change = ratio, Change(end / n, n)
    return change
