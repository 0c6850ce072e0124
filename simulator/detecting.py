"""How soon detectors find a change, and how often they find one where there is none.

Streams are drawn one by one, each value by itself, from scores that a model really got; a change
shifts them all and clips them to [0, 1], as in the appendix of ParetoBandit (arXiv 2604.00136).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bandit.drift import Detector, DetectorConfig
from simulator.table import Floats

Draw: TypeAlias = Callable[[np.random.Generator, int, float], Floats]
_LATE = 600
"""Values after which a change counts as not found."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A stream and its change: means before and after it."""

    name: str
    draw: Draw
    before: float
    after: float
    healthy: int = 300


@dataclass(frozen=True, slots=True)
class Found:
    """Of many runs: share with a false alarm, and values from a change to its alarm."""

    false_alarms: float
    median: float
    p90: float
    missed: float


def graded(scores: Floats) -> Draw:
    """Draws of real scores, shifted to a mean and clipped."""
    usual = float(scores.mean())

    def draw(rng: np.random.Generator, n: int, mean: float) -> Floats:
        return np.clip(rng.choice(scores, n) + (mean - usual), 0.0, 1.0)

    return draw


def binary(rng: np.random.Generator, n: int, mean: float) -> Floats:
    """Thumbs: 1 with probability ``mean``, else 0."""
    return (rng.random(n) < mean).astype(np.float64)


def measure(trial: Trial, config: DetectorConfig, *, runs: int, length: int = 2_000) -> Found:
    """``runs`` streams of ``length`` without a change, and as many with one; residuals of both."""
    calm = [_first(config, values) for values in _streams(trial, runs, length)]
    waits = []
    for seed in range(runs):
        rng = np.random.default_rng([seed, 1])
        detector = Detector(config)
        for value in trial.draw(rng, trial.healthy, trial.before) - trial.before:
            detector.update(float(value))
        after = trial.draw(rng, _LATE, trial.after) - trial.before
        waits.append(_wait(detector, after))
    known = np.array([_LATE if wait is None else wait for wait in waits])
    return Found(
        sum(calm) / runs,
        float(np.median(known)),
        float(np.quantile(known, 0.9)),
        sum(wait is None for wait in waits) / runs,
    )


def _streams(trial: Trial, runs: int, length: int) -> Iterator[Floats]:
    for seed in range(runs):
        rng = np.random.default_rng([seed, 0])
        yield trial.draw(rng, length, trial.before) - trial.before


def _first(config: DetectorConfig, values: Floats) -> bool:
    return _wait(Detector(config), values) is not None


def _wait(detector: Detector, values: Floats) -> int | None:
    for n, value in enumerate(values, start=1):
        if detector.update(float(value)) is not None:
            return n
    return None
