"""From judgements and measurements to a reward.

Values are checked here, before they reach any log: one infinite loss can ruin a policy for good.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bandit.primitives import Reward
from bandit.utility import Scenario
from feedback.errors import BadFeedbackError
from feedback.outcome import Feedback, Outcome

COMMENT = "comment"

METRIC_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"task_success": 4.0, "rating": 2.0, "thumbs": 2.0, "judge": 1.0}
)
"""How much a metric counts: what happened over what people say over what a model says.

A metric counts once, however many sources it has, so that a crowd of judges cannot shout down one
measured success."""

_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"task_success": (0, 1), "rating": (1, 5), "thumbs": (0, 1), "judge": (0, 1)}
)
_BINARY = frozenset({"thumbs", "task_success"})
_MAX_MEASURE = 1e9


@dataclass(frozen=True, slots=True)
class RewardRules:
    """How feedback becomes quality.

    Attributes
    ----------
    weights
        Metric to weight, at least 0; a metric that is missing here is stored and not learned.
    default_quality
        Quality in [0, 1] of a decision that nobody judged within the reward window; None learns
        nothing from silence.
    corrected
        Whether a judge's scores and people's verdicts are taught apart, so that the one can be
        corrected by the other (`feedback.opinions`), rather than averaged.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: METRIC_WEIGHTS)
    default_quality: float | None = None
    corrected: bool = False

    def __post_init__(self) -> None:
        for metric, weight in self.weights.items():
            if metric not in _RANGES or not (math.isfinite(weight) and weight >= 0):
                raise BadFeedbackError(
                    f"weights.{metric}", weight, f"a number from 0 for one of {', '.join(_RANGES)}"
                )
        if self.default_quality is not None:
            _number("default_quality", self.default_quality, 0.0, 1.0)


def normalise(metric: str, value: float) -> float:
    """The value of ``metric`` as quality in [0, 1].

    Raises
    ------
    BadFeedbackError
        If the metric is unknown, or the value is not a finite number in its range; booleans and
        text are not numbers.

    Examples
    --------
    >>> normalise("rating", 4)
    0.75
    """
    check_metric(metric)
    low, high = _RANGES[metric]
    _number("value", value, low, high, only_ends=metric in _BINARY)
    return (value - low) / (high - low)


def check_metric(metric: str) -> None:
    """Refuse a metric without numbers, whatever its value.

    Raises
    ------
    BadFeedbackError
        Naming those that exist.
    """
    if metric not in _RANGES:
        raise BadFeedbackError("metric", metric, f"one of {', '.join((*_RANGES, COMMENT))}")


def check(feedback: Feedback) -> None:
    """Refuse feedback that must not be stored.

    Raises
    ------
    BadFeedbackError
        Naming the field and what it may be.
    """
    for name in ("source", "feedback_id"):
        _text(name, getattr(feedback, name))
    if feedback.metric == COMMENT:
        if feedback.value is not None:
            raise BadFeedbackError("value", feedback.value, "none: a comment has no number")
    elif feedback.value is not None:
        normalise(feedback.metric, feedback.value)
    else:
        check_metric(feedback.metric)


def check_outcome(outcome: Outcome) -> None:
    """Refuse an outcome whose numbers could not be learned.

    Raises
    ------
    BadFeedbackError
    """
    _text("arm", outcome.arm)
    _text("model", outcome.model or "?")
    for name in ("latency_s", "ttft_s", "cost_usd", "tokens_in", "tokens_out", "energy_j"):
        value = getattr(outcome, name)
        if value is not None:
            _number(name, value, 0.0, _MAX_MEASURE)
    for name, value in outcome.confidence.items():
        _number(f"confidence.{name}"[:80], value, -_MAX_MEASURE, _MAX_MEASURE)


def latest(feedback: Iterable[Feedback]) -> Mapping[tuple[str, str], Feedback]:
    """The rows that count, by (metric, source); ``feedback`` comes oldest first."""
    return {(row.metric, row.source): row for row in feedback}


def combine(
    feedback: Iterable[Feedback], weights: Mapping[str, float] = METRIC_WEIGHTS
) -> float | None:
    """Quality in [0, 1] of one decision, or None when nobody says anything (any more).

    The mean over sources within each metric, then the weighted mean over metrics.

    Parameters
    ----------
    feedback
        Rows of one decision, oldest first; changed and withdrawn ones may be among them.

    Examples
    --------
    >>> up = Feedback("f1", "d", "thumbs", 1, "ann")
    >>> combine([up, Feedback("f2", "d", "judge", 0.25, "judge")])
    0.75
    >>> combine([up, Feedback("f3", "d", "thumbs", None, "ann")]) is None
    True
    """
    counted = latest(feedback)
    by_metric: dict[str, list[float]] = {}
    for (metric, _), row in sorted(counted.items()) if len(counted) > 1 else counted.items():
        if row.value is not None and weights.get(metric, 0.0) > 0.0:
            by_metric.setdefault(metric, []).append(normalise(metric, row.value))
    if not by_metric:
        return None
    total = quality = 0.0
    for metric, values in by_metric.items():
        total += weights[metric]
        quality += weights[metric] * sum(values) / len(values)
    return min(1.0, quality / total)


def value_of(scenario: Scenario, *, quality: float | None, outcome: Outcome | None) -> float | None:
    """A decision's reward under its scenario; None where it failed, or a term is not known yet."""
    if outcome is None:
        return scenario.reward(quality=quality, cost_usd=None, latency_s=None)
    if outcome.failure is not None:
        return None
    return scenario.reward(
        quality=quality,
        cost_usd=outcome.cost_usd,
        latency_s=outcome.latency_s,
        energy_j=outcome.energy_j,
    )


def to_reward(scenario: Scenario, *, quality: float | None, outcome: Outcome | None) -> Reward:
    """All that is known of a decision, combined under its scenario.

    A failed answer has no reward: the failure is the backend's story, and says nothing of quality.
    """
    if outcome is None:
        return Reward(quality, value=value_of(scenario, quality=quality, outcome=None))
    if outcome.failure is not None:
        return Reward()
    value = value_of(scenario, quality=quality, outcome=outcome)
    return Reward(quality, outcome.cost_usd, outcome.latency_s, value)


def _number(field: str, value: object, low: float, high: float, *, only_ends: bool = False) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not low <= value <= high
        or (only_ends and value not in {low, high})
    ):
        want = f"{low:g} or {high:g}" if only_ends else f"a finite number in [{low:g}, {high:g}]"
        raise BadFeedbackError(field, value, want)


def _text(field: str, value: str) -> None:
    if not value or "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise BadFeedbackError(field, value, "text without NUL or lone surrogates")
