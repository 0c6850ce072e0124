"""What was measured of an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from bandit.primitives import Gating

CostSource: TypeAlias = Literal["usage", "estimate", "caller", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One per decision, whether the answer came from us or the caller ran the model.

    Attributes
    ----------
    arm, model
        What really answered; after a failover ``arm`` differs from the decision's.
    cost_usd
        None while ``cost_source`` is ``"unknown"``.
    failure
        None, or why there is no full answer: ``unavailable``, ``timeout``, ``cancelled``,
        ``error``, ``overload``. A failure is never a judgement of quality.
    confidence
        What an edge model's answer showed of itself: ``logprob_mean``, ``logprob_min``,
        ``margin_mean``, ``margin_min``, ``entropy_mean``, ``n_words``, ``truncated``, ...
    energy_j
        Energy of the answer in joules; None where nobody measured or estimated it.
    gating
        The second stage of a cascade; the numbers above are then of both stages together.
    """

    decision_id: str
    arm: str
    model: str
    latency_s: float | None
    ttft_s: float | None = None
    cost_usd: float | None = None
    cost_source: CostSource = "unknown"
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    failure: str | None = None
    confidence: Mapping[str, float] = field(default_factory=dict)
    reported_by: Literal["server", "caller"] = "server"
    at: datetime | None = None
    answer: str | None = None
    energy_j: float | None = None
    gating: Gating | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """One judgement of one decision by one source.

    The latest row of (decision, metric, source) counts; a row with ``value`` None withdraws it.

    Attributes
    ----------
    metric
        ``thumbs`` (0 or 1), ``rating`` (1 to 5), ``judge`` ([0, 1]), ``task_success`` (0 or 1),
        ``comment`` (text only).
    source
        Who judged: a user, a grader, a judge model.
    """

    feedback_id: str
    decision_id: str
    metric: str
    value: float | None
    source: str
    comment: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    occurred_at: datetime | None = None
    at: datetime | None = None
