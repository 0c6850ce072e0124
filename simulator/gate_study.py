"""How well a gate tells good edge answers from bad ones: before any label, later, after a swap."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.primitives import Arm, Context, Decision, Interaction, Prediction, Reward
from simulator.errors import BadStudyError
from simulator.study import Study
from simulator.table import Floats

LABELS = (0, 200, 1000)
SWAP_LABELS = (0, 50, 200)
_UNJUDGED = 200
"""Answers without a vote that come before the first measurement."""
_TESTED = 1_000
_BINS = 10
_BIN_ROWS = 60
Rows: TypeAlias = NDArray[np.int64]
_WHEN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GateScore:
    """Area under the ROC curve and expected calibration error, on rows that were never learned.

    Attributes
    ----------
    chance_ece
        What the error would be if every expectation were exactly right, for as many answers.
    prompt_auroc
        That of what the policy expects before the answer is seen.
    """

    auroc: float
    ece: float
    chance_ece: float
    prompt_auroc: float


def auroc(score: Floats, good: Floats) -> float:
    """How often a good answer scores above a bad one; ties count half. NaN without both kinds.

    Examples
    --------
    >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.875
    """
    values, place = np.unique(score, return_inverse=True)
    wins = np.bincount(place[good < 0.5], minlength=len(values)).astype(np.float64)
    hits = np.bincount(place[good >= 0.5], minlength=len(values)).astype(np.float64)
    below = np.cumsum(wins) - 0.5 * wins
    pairs = wins.sum() * hits.sum()
    return float((hits * below).sum() / pairs) if pairs else float("nan")


def is_good(quality: Floats) -> Floats:
    """1 where an answer is as good as half of them are, better than the worst, or right; else 0.

    Examples
    --------
    >>> is_good(np.array([0.0, 0.0, 0.0, 1.0])).tolist()
    [0.0, 0.0, 0.0, 1.0]
    >>> is_good(np.array([0.0, 0.25, 0.5])).tolist()
    [0.0, 1.0, 1.0]
    """
    enough = min(0.999, float(np.median(quality)))
    good = quality >= enough if quality.min() < enough else quality > enough
    return good.astype(np.float64)


def calibration_error(expected: Floats, quality: Floats) -> float:
    """Mean distance of what was expected and what came, over bins of as many answers each.

    Ten bins, or as many as leave sixty answers a bin: chance alone makes the distance of a smaller
    one large.

    Examples
    --------
    >>> calibration_error(np.full(120, 0.5), np.full(120, 0.75))
    0.25
    """
    order = np.argsort(expected, kind="stable")
    parts = np.array_split(order, max(1, min(_BINS, len(order) // _BIN_ROWS)))
    gaps = [abs(float((expected[p] - quality[p]).mean())) * len(p) for p in parts]
    return sum(gaps) / len(order)


def chance_error(expected: Floats, rng: Generator, *, n: int = 200) -> float:
    """The `calibration_error` of expectations that are exactly right, for answers right or wrong.

    Examples
    --------
    >>> chance_error(np.ones(120), np.random.default_rng(0))
    0.0
    """
    sure = np.clip(expected, 0.0, 1.0)
    truths = (rng.random((n, len(sure))) < sure).astype(np.float64)
    return float(np.mean([calibration_error(sure, truth) for truth in truths]))


def held_out(study: Study, rng: Generator) -> tuple[Rows, Rows]:
    """Rows to learn from and rows to be tested on, no prompt in both, either in a random order.

    Tested are those beyond what the labels need, between a fifth of the table and a thousand.
    """
    prompts = np.unique(np.array(study.table.prompts, dtype=object), return_inverse=True)[1]
    place = rng.permutation(int(prompts.max()) + 1)[prompts]
    rows = np.lexsort((rng.random(len(place)), place))
    n = len(rows)
    wanted = min(_TESTED, max(n // 5, n - LABELS[-1]))
    # Whole prompts only: those from which on enough rows are left.
    first = place[rows[n - wanted]]
    learned = rows[place[rows] < first] if first > 0 else rows[: n - wanted]
    return rng.permutation(learned), rows[len(learned) :]


class _Class:
    """One policy, taught edge answers of a table's rows in a random order."""

    def __init__(self, study: Study, seed: int) -> None:
        self._study = study
        self._contexts: list[Context] = study.bank.contexts()
        self._rng = np.random.default_rng([seed, 8])
        self._rows, self._tested = held_out(study, self._rng)
        self._next = 0
        self._policy = ComposedPolicy(PolicyConfig("composed", dict(study.bank.sizes)))

    def arms(self, column: int) -> tuple[Arm, Arm]:
        first, last = self._study.arms[0], self._study.arms[-1]
        digest = self._study.table.models[column]
        return (
            Arm(first, "edge", digest, 0.1, 0.1, digest=digest),
            Arm(last, "cloud", last, 1.0, 3.0),
        )

    def answer(self, column: int, n: int, *, judged: bool) -> int:
        """Let the model of ``column`` answer ``n`` further rows; how many have answers by now."""
        arms, table = self.arms(column), self._study.table
        shown = table.signals[table.models[column]]
        for row in self._rows[self._next : self._next + n]:
            prediction = Prediction((arms[0].arm_id, arms[1].arm_id), (0.5, 0.5), "study")
            decision = Decision(
                "", self._contexts[row], arms, self._study.scenario, prediction,
                arms[0].arm_id, 0.5, "policy", _WHEN,
            )  # fmt: skip
            quality = float(table.quality[row, column]) if judged else None
            reward = Reward(quality=quality, latency_s=1.0)
            self._policy.learn(Interaction(decision, reward, signals=shown[row]))
        self._next = min(self._next + n, len(self._rows))
        return self._next

    def start_over(self) -> None:
        """The votes on the first answers come only now."""
        self._next = 0

    def score(self, column: int) -> GateScore:
        """The gate on prompts that it never learns from."""
        arms, table, scenario = self.arms(column), self._study.table, self._study.scenario
        rows = self._tested
        shown = table.signals[table.models[column]]
        found = [
            self._policy.gate(self._contexts[row], *arms, scenario, shown[row]).estimates[0]
            for row in rows
        ]
        before = [
            self._policy.predict(self._contexts[row], arms, scenario).estimates[0] for row in rows
        ]
        expected, prior = (np.array([e.quality or 0.0 for e in some]) for some in (found, before))
        quality = table.quality[rows, column]
        good = is_good(quality)
        error = calibration_error(expected, quality)
        chance = chance_error(expected, self._rng)
        return GateScore(auroc(expected, good), error, chance, auroc(prior, good))


def learning(study: Study, seed: int) -> Iterator[tuple[str, GateScore]]:
    """The gate after 200 answers without a vote, and after 200 and 1,000 votes."""
    _check(study, 0)
    pupil = _Class(study, seed)
    pupil.answer(0, _UNJUDGED, judged=False)
    yield "no label", pupil.score(0)
    pupil.start_over()
    done = 0
    for n in LABELS[1:]:
        done = pupil.answer(0, n - done, judged=True)
        yield f"{done:,} labels", pupil.score(0)


def swapped(study: Study, seed: int) -> Iterator[tuple[str, GateScore]]:
    """The gate before and after the model of the last column takes the edge's place."""
    last = len(study.arms) - 1
    _check(study, last)
    pupil = _Class(study, seed)
    pupil.answer(0, min(500, len(study.table) // 3), judged=True)
    yield "before the swap", pupil.score(0)
    done = 0
    for n in SWAP_LABELS:
        pupil.answer(last, n - done, judged=True)
        done = n
        yield f"{n:,} labels after", pupil.score(last)


def _check(study: Study, column: int) -> None:
    model = study.table.models[column]
    if model not in study.table.signals:
        want = f"no column response:{model} or signal:{model}:<name>"
        raise BadStudyError("table", study.table.name, want)
