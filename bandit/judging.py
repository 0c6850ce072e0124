"""How far a judge is off, learned from the few answers that people checked.

A judge scores many answers, people a few of them: those that were drawn for an audit, each with a
known probability π. With f the judge's score and Y the people's verdict, an arm's quality is

    ``θ = mean(f) + Σ w (Y - f) / Σ w``,  ``w = 1 / π`` over the audited.

After Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, "Prediction-powered inference" (Science
2023, arXiv 2301.09633), with the inverse probabilities that Ao et al. (arXiv 2601.21471) use for
bandits; self-normalised, so that audits which nobody answers, whatever their share, do no harm as
long as who answers does not depend on the answer.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bandit.intervals import student_quantile

_PRIOR_AUDITS = 4.0
"""What the judge's bias over all arms counts for, in audits of one arm: residuals with a standard
deviation of .2, biases that differ by .1 from arm to arm."""
_GOOD = 0.5
"""At and above it an answer counts as accepted, for agreement."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with bounds, and the number of audits that it counts for."""

    value: float
    low: float
    high: float
    audits: float


@dataclass(slots=True)
class Tally:
    """Sums over one judge's scores of one arm, and over the audits among them.

    Attributes
    ----------
    n, score, square
        Scores: how many, their sum and sum of squares.
    n_audits
        Audits that were answered.
    w, w2
        Sums of weights and of their squares.
    wf, wr, wa, w2r, w2r2, wfr
        Weighted sums of the score f, the residual ``r = verdict - f``, its size, and products.
    both, judge_only, people_only, neither
        Weight of the audits that judge and people accept, or not.
    v, vr
        Weights and residuals of voluntary verdicts.
    """

    n: int = 0
    score: float = 0.0
    square: float = 0.0
    n_audits: int = 0
    w: float = 0.0
    w2: float = 0.0
    wf: float = 0.0
    wr: float = 0.0
    wa: float = 0.0
    w2r: float = 0.0
    w2r2: float = 0.0
    wfr: float = 0.0
    both: float = 0.0
    judge_only: float = 0.0
    people_only: float = 0.0
    neither: float = 0.0
    v: float = 0.0
    vr: float = 0.0

    @property
    def effective(self) -> float:
        """Audits of equal weight that would say as much (Kish)."""
        return self.w * self.w / self.w2 if self.w2 > 0.0 else 0.0

    @property
    def raw_bias(self) -> float:
        """Mean of verdict less score over the audits; 0 without any."""
        return self.wr / self.w if self.w > 0.0 else 0.0

    def judged(self, score: float) -> None:
        """Count a score."""
        self.n += 1
        self.score += score
        self.square += score * score

    def audited(self, score: float, verdict: float, weight: float) -> None:
        """Count the answer to an audit, with one over its probability as ``weight``."""
        r = verdict - score
        self.n_audits += 1
        self.w += weight
        self.w2 += weight * weight
        self.wf += weight * score
        self.wr += weight * r
        self.wa += weight * abs(r)
        self.w2r += weight * weight * r
        self.w2r2 += weight * weight * r * r
        self.wfr += weight * score * r
        cell = ("neither", "people_only", "judge_only", "both")
        name = cell[2 * (score >= _GOOD) + (verdict >= _GOOD)]
        setattr(self, name, getattr(self, name) + weight)

    def volunteered(self, score: float, verdict: float, weight: float) -> None:
        """Count a verdict that nobody asked for."""
        self.v += weight
        self.vr += weight * (verdict - score)

    def plus(self, other: "Tally") -> "Tally":
        """The sums of both."""
        mine, theirs = asdict(self), asdict(other)
        return Tally(**{name: mine[name] + theirs[name] for name in mine})

    def bias(self, alpha: float = 0.05) -> Interval:
        """Verdict less score: how much the judge understates, with an interval for it."""
        if self.n_audits < 2:
            return Interval(self.raw_bias, -1.0, 1.0, self.effective)
        b = self.raw_bias
        variance = self._residual_variance(b)
        half = self._half(variance, alpha)
        return Interval(b, max(-1.0, b - half), min(1.0, b + half), self.effective)

    def quality(self, alpha: float = 0.05) -> Interval:
        """The arm's corrected mean quality over what was judged, with an interval for it."""
        if not self.n:
            return Interval(0.5, 0.0, 1.0, 0.0)
        mean, b = self.score / self.n, self.raw_bias
        if self.n_audits < 2:
            return Interval(mean + b, 0.0, 1.0, self.effective)
        # The influence of each decision: its own score, and its residual where it was audited.
        spread = max(0.0, self.square / self.n - mean * mean) / self.n
        shared = (self.wfr - mean * self.wr - b * (self.wf - mean * self.w)) / (self.w * self.n)
        variance = max(0.0, spread + self._residual_variance(b) + 2.0 * shared)
        half = self._half(variance, alpha)
        value = mean + b
        return Interval(value, max(0.0, value - half), min(1.0, value + half), self.effective)

    def _residual_variance(self, b: float) -> float:
        squares = self.w2r2 - 2.0 * b * self.w2r + b * b * self.w2
        freedom = max(self.effective, 1.0 + 1e-9)
        return max(0.0, squares) / (self.w * self.w) * freedom / max(freedom - 1.0, 0.5)

    def _half(self, variance: float, alpha: float) -> float:
        freedom = np.array(max(1.0, self.effective - 1.0))
        return float(student_quantile(alpha, freedom)) * math.sqrt(variance)

    def agreement(self) -> tuple[float | None, float | None]:
        """Share of audits where both accept or neither does, and Cohen's kappa; None if unknown."""
        if self.w <= 0.0:
            return None, None
        same = (self.both + self.neither) / self.w
        judge = (self.both + self.judge_only) / self.w
        people = (self.both + self.people_only) / self.w
        chance = judge * people + (1.0 - judge) * (1.0 - people)
        kappa = None if chance > 1.0 - 1e-12 else (same - chance) / (1.0 - chance)
        return same, kappa


@dataclass(slots=True)
class Tallies:
    """What is known of every judge, by judge and arm."""

    by_judge: dict[str, dict[str, Tally]] = field(default_factory=dict)

    def of(self, judge: str, arm: str) -> Tally:
        """The tally of one judge and arm, which is kept from now on."""
        return self.by_judge.setdefault(judge, {}).setdefault(arm, Tally())

    def whole(self, judge: str) -> Tally:
        """One judge's sums over all arms."""
        total = Tally()
        for tally in self.by_judge.get(judge, {}).values():
            total = total.plus(tally)
        return total

    def correction(self, judge: str, arm: str) -> float:
        """What to add to the judge's scores of an arm.

        The arm's own audits, beside what is known without them, which counts for four: voluntary
        verdicts on that arm and the judge's bias over all arms. With more audits that share, and
        with it the error of a wrong guess, vanishes as ``4 / (n + 4)``.
        """
        every = self.by_judge.get(judge, {})
        w, wr, w2 = (sum(getattr(t, name) for t in every.values()) for name in ("w", "wr", "w2"))
        n = w * w / w2 if w2 > 0.0 else 0.0
        pooled = n * (wr / w) / (n + _PRIOR_AUDITS) if n else 0.0
        own = every.get(arm)
        if own is None:
            return pooled
        guess = (own.vr + _PRIOR_AUDITS * pooled) / (own.v + _PRIOR_AUDITS)
        n = own.effective
        return (n * own.raw_bias + _PRIOR_AUDITS * guess) / (n + _PRIOR_AUDITS)

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Tally]]]:
        return iter(self.by_judge.items())

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        return {
            judge: {arm: asdict(tally) for arm, tally in arms.items()}
            for judge, arms in self.by_judge.items()
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "Tallies":
        """The tallies that `state` gave."""
        return cls(
            {
                judge: {arm: Tally(**sums) for arm, sums in arms.items()}
                for judge, arms in state.items()
            }
        )


@dataclass(slots=True)
class Account:
    """What one arm was taught, and what it would be taught as the judges are known now.

    Scores are taught with the correction of their moment, cut to [0, 1]. Later audits change the
    correction of all of them; what the cut took away is missing too. The account keeps both: its
    `shift`, added to the arm's expected quality, makes the mean over everything that was taught
    exactly what it would be had every score been taught as known now, and never cut.
    """

    n: float = 0.0
    taught: float = 0.0
    people: float = 0.0
    scores: dict[str, list[float]] = field(default_factory=dict)

    def add_verdict(self, verdict: float, weight: float) -> None:
        """People taught it."""
        self.n += weight
        self.taught += weight * verdict
        self.people += weight * verdict

    def add_score(self, judge: str, score: float, taught: float) -> None:
        """A judge's score was taught as ``taught``."""
        self.n += 1.0
        self.taught += taught
        sums = self.scores.setdefault(judge, [0.0, 0.0])
        sums[0] += 1.0
        sums[1] += score

    def shift(self, corrections: Mapping[str, float]) -> float:
        """What is missing on average, given every judge's correction as known now."""
        if self.n <= 0.0:
            return 0.0
        wanted = self.people + sum(
            score + n * corrections.get(judge, 0.0) for judge, (n, score) in self.scores.items()
        )
        return (wanted - self.taught) / self.n
