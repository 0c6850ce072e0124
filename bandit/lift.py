"""Is one policy better than another? Evidence that may be looked at after every reward.

The rows are those of `bandit.confseq.lift_sequence`, taken one at a time with a state that does not
grow, and with one thing added: whoever knows both pmfs knows how far a row *can* fall before the
arm is drawn. With ``δ_a = (π_a - β_a) / p_a`` for a target π, a base β and the logged pmf p, a row
``φ = δ_drawn (r - c)`` has mean ``v = v_π - v_β`` and never falls below

    ``b = max_a max(δ_a c, -δ_a (1 - c))``,

so the largest slope that is safe for *this* row is ``.9 / b``, where `lift_sequence` has to take
one that is safe for the largest weight of all. Policies that mostly agree are told apart quickly,
even where the floor would allow weights of fifty. As there, with ``λ_i = min(λ, .9 / b_i)`` known
before row i, ``exp( Σ λ_i (φ_i - v_i) - φ_i² ψ(λ_i b_i) / b_i² )`` is a supermartingale, and so is
its average over a grid of λ. What is bounded is the average of ``v_i`` with weights ``λ_i``: the
plain running average where no row can fall far, and never above 0 where the target never is better.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit.confseq import SLOPES, STEEPEST
from bandit.intervals import Array


@dataclass(frozen=True, slots=True)
class Contrast:
    """What two policies say of one logged draw.

    Attributes
    ----------
    drawn
        ``δ`` of the arm that was drawn.
    highest, lowest
        The largest (at least 0) and the smallest (at most 0) that δ could have been.
    weight
        ``π / p`` of the drawn arm.
    """

    drawn: float
    highest: float
    lowest: float
    weight: float

    @classmethod
    def between(
        cls,
        target: Sequence[float],
        logged: Sequence[float],
        *,
        drawn: int,
        base: Sequence[float] | None = None,
    ) -> "Contrast":
        """The contrast of ``target`` with ``base``, or with what was logged.

        Parameters
        ----------
        drawn
            Index of the arm that was drawn.

        Examples
        --------
        >>> Contrast.between((0.5, 0.5), (0.75, 0.25), drawn=1)
        Contrast(drawn=1.0, highest=1.0, lowest=-0.3333333333333333, weight=2.0)
        """
        beside = logged if base is None else base
        deltas = [(t - b) / p for t, b, p in zip(target, beside, logged, strict=True) if p > 0.0]
        own = (target[drawn] - beside[drawn]) / logged[drawn]
        return cls(own, max(0.0, *deltas), min(0.0, *deltas), target[drawn] / logged[drawn])


class _Rows:
    """Turns contrasts and rewards into centred rows; the centre is the target's running value."""

    def __init__(self, reach: float, state: Mapping[str, Any]) -> None:
        self._slopes: Array = SLOPES / max(reach, 1.0)
        self._prior = reach
        self._weighted: float = state.get("weighted", 0.0)
        self._weights: float = state.get("weights", 0.0)

    def row(self, contrast: Contrast, reward: float) -> tuple[Array, float, Array | float]:
        """The slopes, the row and its charge."""
        centre = (0.5 * self._prior + self._weighted) / (self._prior + self._weights)
        self._weighted += contrast.weight * reward
        self._weights += contrast.weight
        gain = contrast.drawn * (reward - centre)
        bound = max(contrast.highest * centre, -contrast.lowest * (1.0 - centre))
        if gain == 0.0 or bound <= 0.0:
            return self._slopes, 0.0, 0.0
        slopes: Array = np.minimum(self._slopes, STEEPEST / bound)
        reach = slopes * bound
        return slopes, gain, (gain / bound) ** 2 * (-np.log1p(-reach) - reach)

    def state(self) -> dict[str, float]:
        """What a snapshot keeps."""
        return {"weighted": self._weighted, "weights": self._weights}


class RunningLift:
    """Lower bound of a target's value minus a base's, over all rows so far.

    With ``reach = w_max``, fed with contrasts whose ``highest`` is ``w_max - 1``, it is the lower
    bound of `bandit.confseq.lift_sequence`, row by row; fed with ``1 - reward`` it bounds the
    negated lift, so the upper bound comes from a second one.

    Parameters
    ----------
    reach
        The grid's slopes are safe for rows that fall so far; 1 is best where pmfs are known.
    state
        What `state` returned.

    Examples
    --------
    >>> lift, rng = RunningLift(), np.random.default_rng(0)
    >>> for _ in range(2000):
    ...     arm = int(rng.random() < 0.5)
    ...     lift.add(Contrast.between((0.1, 0.9), (0.5, 0.5), drawn=arm), 0.3 + 0.4 * arm)
    >>> lift.low(alpha=0.05) > 0.1, round(lift.value, 2)
    (True, 0.16)
    """

    def __init__(self, *, reach: float = 1.0, state: Mapping[str, Any] | None = None) -> None:
        known, nothing = state or {}, [0.0] * len(SLOPES)
        self._rows = _Rows(reach, known)
        self.n: int = known.get("n", 0)
        self._total: float = known.get("total", 0.0)
        self._evidence: Array = np.array(known.get("evidence", nothing))
        self._slopes: Array = np.array(known.get("slopes", nothing))

    def add(self, contrast: Contrast, reward: float) -> None:
        """Take in one row; ``reward`` in [0, 1]."""
        slopes, gain, charge = self._rows.row(contrast, reward)
        self.n += 1
        self._total += gain
        self._evidence += slopes * gain - charge
        self._slopes += slopes

    @property
    def value(self) -> float:
        """Estimate of the lift; 0 before the first row."""
        return self._total / self.n if self.n else 0.0

    def low(self, *, alpha: float) -> float:
        """With probability ``1 - alpha``, the lift is above every one of these ever returned.

        The m at which ``mean_j exp(E_j - m Σλ_ij)`` is ``1 / alpha``: convex and falling in m, so
        Newton from below climbs to it.
        """
        if not self.n:
            return -1.0
        target = -math.log(alpha)
        found = float(((self._evidence - target - math.log(len(SLOPES))) / self._slopes).max())
        for _ in range(100):
            logs = self._evidence - found * self._slopes
            mass = np.exp(logs - logs.max())
            step = (_log_mean(logs) - target) * float(mass.sum() / (mass * self._slopes).sum())
            found += step
            if abs(step) <= 1e-12:
                break
        return max(-1.0, found)

    def exceeds(self, margin: float, *, alpha: float) -> bool:
        """Whether ``low(alpha=alpha) > margin``, without solving for it."""
        return _log_mean(self._evidence - margin * self._slopes) > -math.log(alpha)

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        sums = {"evidence": self._evidence.tolist(), "slopes": self._slopes.tolist()}
        return {**self._rows.state(), **sums, "n": self.n, "total": self._total}


class LiftDetector:
    """Notices that a target has begun to beat a base by more than a margin.

    For every slope the evidence starts anew whenever it falls below nothing, so that long success
    does not hide a new fault: a CUSUM of e-values, an *e-detector* after Shin, Ramdas and Rinaldo,
    "E-detectors: a nonparametric framework for sequential change detection" (2022,
    arXiv 2203.03532). While the lift is never above the margin, ``exceeds(n)`` takes at least n
    rows on average, whatever else happens.

    Parameters
    ----------
    margin
        Lift that is tolerated, in reward; may be negative.
    """

    def __init__(self, margin: float, *, state: Mapping[str, Any] | None = None) -> None:
        known = state or {}
        self._margin = margin
        self._rows = _Rows(1.0, known)
        self._logs: Array = np.array(known.get("logs", [0.0] * len(SLOPES)))
        self.n: int = known.get("n", 0)
        self._total: float = known.get("total", 0.0)
        self._rewards: float = known.get("rewards", 0.0)

    def add(self, contrast: Contrast, reward: float) -> None:
        """Take in one row; ``reward`` in [0, 1]."""
        if self._logs.max() <= 0.0:
            self.n, self._total, self._rewards = 0, 0.0, 0.0
        slopes, gain, charge = self._rows.row(contrast, reward)
        self._logs = np.maximum(self._logs, 0.0) + slopes * (gain - self._margin) - charge
        self.n, self._total = self.n + 1, self._total + gain
        self._rewards += reward

    @property
    def value(self) -> float:
        """Estimate of the lift over the last ``n`` rows, those that the evidence rests on."""
        return self._total / self.n if self.n else 0.0

    @property
    def mean_reward(self) -> float:
        """What was earned over the last ``n`` rows."""
        return self._rewards / self.n if self.n else 0.0

    def exceeds(self, run_length: float) -> bool:
        """Whether there is evidence that comes by chance once in ``run_length`` rows at most."""
        threshold = math.log(run_length)
        return bool(self._logs.max() > threshold) and _log_mean(self._logs) > threshold

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        return {
            **self._rows.state(),
            "logs": self._logs.tolist(),
            "n": self.n,
            "total": self._total,
            "rewards": self._rewards,
        }


def _log_mean(logs: Array) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))
