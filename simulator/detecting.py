"""How soon detectors find a change, how often they find one where there is none, what is possible.

Streams are drawn one by one, each value by itself, from scores that a model really got; a change
shifts them all and clips them to [0, 1], as in the appendix of ParetoBandit (arXiv 2604.00136).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bandit.drift import Detector, DetectorConfig, for_votes, vote_noise
from simulator.table import Floats

Draw: TypeAlias = Callable[[np.random.Generator, int, float], Floats]
Look: TypeAlias = Callable[[float], bool]
"""Told the next vote; whether a change is found."""
_LATE = 600
"""Values after which a change counts as not found."""
_RARE = 0.01
"""Share of calm streams in which the optimal detector may raise a false alarm."""


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
    votes = trial.draw is binary
    noise = vote_noise(trial.before) if votes else None

    def fresh() -> Look:
        detector = Detector(for_votes(config) if votes else config)
        return lambda value: detector.update(value - trial.before, noise) is not None

    return _measured(trial, fresh, runs, length)


def optimal(trial: Trial, *, runs: int, length: int = 2_000) -> Found:
    """The same for a detector of votes that is told both rates, which nothing can beat.

    It sums log-likelihood ratios, never below 0 (Page's CUSUM), and raises its alarm at a
    threshold; among all detectors with as rare false alarms it is the fastest in the worst case
    (Lorden, "Procedures for reacting to a change in distribution", 1971; Moustakides, "Optimal
    stopping times for detecting changes in distributions", 1986). The threshold is that of one
    calm stream in a hundred, found with streams of its own.
    """
    up, down = log_ratios(trial)
    highest = np.zeros(max(2_000, runs))
    sums = highest.copy()
    rng = np.random.default_rng(2)
    for _ in range(length):
        steps = np.where(rng.random(len(sums)) < trial.before, up, down)
        sums = np.maximum(0.0, sums + steps)
        highest = np.maximum(highest, sums)
    threshold = float(np.quantile(highest, 1.0 - _RARE))

    def fresh() -> Look:
        total = 0.0

        def look(value: float) -> bool:
            nonlocal total
            total = max(0.0, total + (up if value > 0.5 else down))
            return total > threshold

        return look

    return _measured(trial, fresh, runs, length)


def log_ratios(trial: Trial) -> tuple[float, float]:
    """What a vote of 1, and one of 0, say for the rate after the change against the one before.

    Examples
    --------
    >>> [round(step, 3) for step in log_ratios(Trial("", binary, 0.92, 0.75))]
    [-0.204, 1.139]
    """
    before, after = trial.before, trial.after
    return math.log(after / before), math.log((1.0 - after) / (1.0 - before))


def _measured(trial: Trial, fresh: Callable[[], Look], runs: int, length: int) -> Found:
    calm = [_wait(fresh(), values) is not None for values in _streams(trial, runs, length)]
    waits = []
    for seed in range(runs):
        rng = np.random.default_rng([seed, 1])
        look = fresh()
        for value in trial.draw(rng, trial.healthy, trial.before):
            look(float(value))
        waits.append(_wait(look, trial.draw(rng, _LATE, trial.after)))
    known = np.array([_LATE if wait is None else wait for wait in waits])
    return Found(
        sum(calm) / runs,
        float(np.median(known)),
        float(np.quantile(known, 0.9)),
        sum(wait is None for wait in waits) / runs,
    )


def _streams(trial: Trial, runs: int, length: int) -> Iterator[Floats]:
    for seed in range(runs):
        yield trial.draw(np.random.default_rng([seed, 0]), length, trial.before)


def _wait(look: Look, values: Floats) -> int | None:
    return next((n for n, value in enumerate(values, start=1) if look(float(value))), None)
