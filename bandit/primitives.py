"""The values that everything else is made of.

All are frozen: a fact is made once and handed on. Units live in names (``_s`` seconds, ``_usd`` US
dollars, ``_tokens``); prices are US dollars per million tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bandit.utility import Scenario

FloatVector: TypeAlias = NDArray[np.float32]
Tier: TypeAlias = Literal["edge", "cloud", "cascade"]
Reason: TypeAlias = Literal["policy", "explore", "mask", "pin", "privacy", "fallback", "baseline"]

FORCED_REASONS: frozenset[Reason] = frozenset({"pin", "privacy", "fallback", "baseline"})
"""Reasons under which the arm was not drawn from the policy's pmf; never learned as if it were."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a query before choosing.

    Attributes
    ----------
    namespaces
        Name to float32 vector of shape (n,), every value finite and of order 1. The same
        ``schema_version`` always has the same names and lengths, in the same order.
    schema_version
        Digest of the features' definition (embedding model, projection, lists of names).
    features_ok
        False when a part could not be computed and zeros stand in; such a query is never learned.
    """

    namespaces: Mapping[str, FloatVector]
    schema_version: str
    features_ok: bool = True


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the choices, as it was when the choice was made.

    Attributes
    ----------
    price_in, price_out
        US dollars per million prompt and completion tokens; None is "unknown", which is not 0.
    capabilities
        What a query may ask of it: ``tools``, ``images``, ``json_schema``, ``json_object``,
        ``logprobs``, ``n``, ...
    features
        Live measurements by name: ``latency_s`` and ``energy_j`` (recent, of an answer),
        ``queue_s`` (predicted wait).
    digest
        Fingerprint of the model behind the arm; a new one means that what was learned may not hold.
    parts
        Of a cascade: the ids of the edge arm that answers first and of the cloud arm that may
        answer instead; empty for every other arm.
    """

    arm_id: str
    tier: Tier
    model: str
    price_in: float | None = None
    price_out: float | None = None
    capabilities: frozenset[str] = frozenset()
    context_tokens: int | None = None
    digest: str = ""
    features: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a policy expects of one arm; None is "does not estimate that".

    ``utility`` orders the arms; for a composed policy it is the scenario's reward at the estimates.
    """

    quality: float | None
    cost_usd: float | None
    latency_s: float | None
    utility: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The pmf over the eligible arms, in the order in which they were given.

    Attributes
    ----------
    arms, pmf, estimates
        Parallel; ``pmf`` is finite, sums to 1 and nowhere falls below the exploration floor.
    policy_version
        The snapshot that made it.
    """

    arms: tuple[str, ...]
    pmf: tuple[float, ...]
    policy_version: str
    estimates: tuple[Estimate, ...] = ()

    def propensity(self, arm_id: str) -> float:
        """Probability of ``arm_id``; exactly 0 when it was not eligible."""
        return self.pmf[self.arms.index(arm_id)] if arm_id in self.arms else 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The logged draw.

    ``arms`` are the eligible ones, as given to the policy; ``masked`` maps every other configured
    arm to the reason why it was not eligible. ``propensity`` is what was drawn with, written once;
    a forced choice (`FORCED_REASONS`) keeps the policy's pmf for the record and has propensity 1.
    """

    decision_id: str
    context: Context
    arms: tuple[Arm, ...]
    scenario: Scenario
    prediction: Prediction
    arm: str
    propensity: float
    reason: Reason
    decided_at: datetime
    masked: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def forced(self) -> bool:
        """Whether the arm was imposed rather than drawn."""
        return self.reason in FORCED_REASONS

    @property
    def chosen(self) -> Arm:
        """The arm that was drawn, with its prices and features of that moment."""
        return self.arms[[arm.arm_id for arm in self.arms].index(self.arm)]


Verdict: TypeAlias = Literal["accept", "escalate"]


@dataclass(frozen=True, slots=True)
class Gating:
    """The second stage of a cascade: what became of the first arm's answer.

    Attributes
    ----------
    edge, cloud
        Ids of the arm that answered first and of the one that may answer instead.
    signals
        What the first answer showed of itself, as in `Outcome.confidence`.
    prediction
        The gate's pmf over the "arms" ``accept`` and ``escalate``, in that order.
    verdict, propensity
        What was drawn, and with which probability; 1 where it was forced.
    forced
        The verdict was not drawn: the first arm failed, or the answer had begun to be sent. Never
        learned as if it were.
    cause
        Why it was forced: ``edge_failed``, ``cloud_failed`` (the edge's answer was delivered though
        the gate had drawn ``escalate``), ``no_gate``, ``gate_failed``, ``part_masked`` or
        ``no_features``; empty where it was drawn.
    edge_cost_usd, edge_latency_s
        The first stage's own bill and time; the outcome's hold both stages.
    """

    edge: str
    cloud: str
    signals: Mapping[str, float]
    prediction: Prediction
    verdict: Verdict
    propensity: float
    forced: bool = False
    edge_cost_usd: float | None = None
    edge_latency_s: float | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Reward:
    """What is known of how a decision turned out; None means "not part of this lesson".

    Attributes
    ----------
    quality
        Judged quality in [0, 1].
    cost_usd, latency_s
        As measured, at least 0.
    value
        The combined reward in [0, 1] under the decision's scenario; None until all of its terms
        with a positive weight are known.
    """

    quality: float | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Who said what of one answer, where a judge and people are told apart.

    Attributes
    ----------
    judge
        Source of the judge's score; empty where no judge spoke.
    score, verdict
        What the judge and what people say, in [0, 1]; None where they say nothing.
    audited
        The verdict is the answer to an audit: the decision was drawn, with ``audit_probability``
        and after the judge had spoken, to be shown to people. Any other verdict is voluntary.
    probe_arm, probe_score
        Another arm that answered the same query unseen, and the judge's score of it; drawn with
        ``probe_rate``, whatever the pmf was.
    """

    judge: str = ""
    score: float | None = None
    verdict: float | None = None
    audited: bool = False
    audit_probability: float | None = None
    probe_arm: str | None = None
    probe_score: float | None = None
    probe_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """A decision joined with its reward: the only thing that a policy learns from.

    ``tokens_in`` and ``tokens_out`` are the served counts where known, so that cost can be learned
    as tokens times price and follow a price change at once.

    Attributes
    ----------
    signals
        The answering model's own confidence, where it is an edge model.
    gating
        The second stage, where a cascade was drawn.
    judgement
        Who says so, where a judge and people are told apart (`feedback.reward.RewardRules`).
    weight
        Importance of ``reward.quality`` beside others, above 0.
    """

    decision: Decision
    reward: Reward
    tokens_in: int | None = None
    tokens_out: int | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    gating: Gating | None = None
    judgement: Judgement | None = None
    weight: float = 1.0
