"""Sections of the settings: what is learned, from what, and how arms are chosen by it."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from bandit.drift import DetectorName
from features.model_store import DEFAULT_MODEL
from feedback.reward import METRIC_WEIGHTS
from serving.section import Name, Seconds, Section, Unit

PolicyName: TypeAlias = Literal["composed", "direct"]
Gamma: TypeAlias = Annotated[float, Field(gt=0, le=1e6)]
GammaVotes: TypeAlias = Annotated[int, Field(ge=0, le=10_000_000)]
Floor: TypeAlias = Annotated[float, Field(ge=0.001, le=0.5)]
Weight: TypeAlias = Annotated[float, Field(ge=0, le=1e3, allow_inf_nan=False)]


class ChallengerSettings(Section):
    """A policy that learns beside the one that serves, and takes its place when it is better."""

    name: Name = Field(description="what alarms call it; not 'live'")
    policy: PolicyName = Field(default="composed", description="as policy.name")
    gamma: Gamma = Field(default=20.0, description="as policy.gamma")
    gamma_votes: GammaVotes = Field(default=625, description="as policy.gamma_votes")
    floor: Floor | None = Field(
        default=None, description="as policy.floor and not below it; none takes that one"
    )


class PolicySettings(Section):
    """How arms are chosen."""

    name: PolicyName = Field(
        default="composed", description="learn quality, cost and latency apart, or their sum"
    )
    gamma: Gamma = Field(
        default=20.0, description="exploitation against exploration; higher explores less"
    )
    gamma_votes: GammaVotes = Field(
        default=625,
        description="votes until gamma is reached, from a tenth; 0 keeps it constant",
    )
    floor: Floor = Field(default=0.02, description="least probability of an eligible arm")
    drift: bool = Field(default=True, description="whether composed handles drift")
    detector: DetectorName = Field(
        default="both", description="what finds changes: both, page-hinkley, adwin or off"
    )
    alarm_threshold: float = Field(
        default=26.0,
        gt=0,
        le=1e6,
        description="of Page-Hinkley, in standard deviations; higher alarms later",
    )
    widen: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="least probability of an arm that became worse, where it may have recovered",
    )
    forgetting: float = Field(
        default=0.999,
        gt=0,
        le=1,
        description="share of an arm's running correction that outlives a vote; 1 forgets nothing",
    )
    newcomer: int = Field(
        default=20, ge=0, le=1_000_000, description="votes for which a new arm is drawn evenly"
    )
    challengers: tuple[ChallengerSettings, ...] = Field(
        default=(), max_length=8, description="policies that learn beside it, in the shadow"
    )
    promotion_alpha: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="probability that a challenger that never is better is ever promoted",
    )
    draw_seed: int | None = Field(
        default=None, ge=0, description="seed of the draws, for repeating a run; none draws afresh"
    )

    @model_validator(mode="after")
    def _fair(self) -> "PolicySettings":
        names = [one.name for one in self.challengers]
        if "live" in names:
            raise ValueError("challengers: 'live' is the policy that serves; name it otherwise")
        if len(set(names)) < len(names):
            raise ValueError("challengers: two of them have the same name")
        for one in self.challengers:
            if one.floor is not None and one.floor < self.floor:
                raise ValueError(
                    f"challengers: {one.name!r} has floor {one.floor:g}, below policy.floor "
                    f"{self.floor:g}; it may serve one day"
                )
        return self


class GuardSettings(Section):
    """Goes back to the last good copy, or to one arm, when the policy is surely worse."""

    enabled: bool = Field(default=True, description="whether the policy is guarded")
    trial: int = Field(
        default=500, ge=1, le=10_000_000, description="judged queries before anything is compared"
    )
    margin: float = Field(
        default=0.03, ge=0, lt=1, description="reward a query that the policy may fall short by"
    )
    run_length: float = Field(
        default=1e5,
        ge=20,
        allow_inf_nan=False,
        description="judged queries between two false alarms, at least, on average",
    )
    proof_length: float = Field(
        default=1e3,
        ge=20,
        allow_inf_nan=False,
        description="the same for giving traffic back too early",
    )
    retrial: float = Field(
        default=0.2, ge=0.01, lt=1, description="share of traffic kept while held back"
    )


class FeatureSettings(Section):
    """What is known of a query before choosing."""

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="embedding model: a wheel's name, a folder, or a sentence-transformers name",
    )
    precision: Literal["auto", "fp32"] = Field(
        default="auto", description="auto: int8 where it agrees with the original"
    )
    max_tokens: int = Field(
        default=128, ge=16, le=512, description="tokens of a query that are embedded"
    )
    projection: str = Field(
        default="auto", description="auto, random, or the path of a fitted projection"
    )
    remembered_queries: int = Field(
        default=4096, ge=0, le=1_000_000, description="embeddings kept, of about 0.6 kB each"
    )
    image_model: str | None = Field(
        default=None,
        min_length=1,
        description="folder of a CLIP-like sentence-transformers model for pictures; loads torch",
    )
    cache_dir: Path | None = Field(
        default=None, description="folder of exported models; none is inside the data folder"
    )
    threads: int = Field(
        default=1, ge=1, le=64, description="queries whose features are computed at once"
    )


class LearnerSettings(Section):
    """The one that learns from the log."""

    enabled: bool = Field(
        default=True, description="learn in this process; off where 'pointsman learn' runs"
    )
    poll_s: Seconds = Field(default=0.25, description="time between looks at the log, seconds")
    publish_s: Seconds = Field(default=0.5, description="least time between two snapshots, seconds")
    batch: int = Field(default=500, ge=1, le=100_000, description="events read at once")


class FeedbackSettings(Section):
    """How judgements become quality."""

    reward_window_s: Annotated[float, Field(gt=0, le=3650 * 86_400, allow_inf_nan=False)] = Field(
        default=7 * 86_400.0,
        description="feedback later than this is kept and not learned, seconds",
    )
    weights: dict[Literal["task_success", "rating", "thumbs", "judge"], Weight] = Field(
        default_factory=lambda: dict(METRIC_WEIGHTS),  # type: ignore[arg-type]
        description="how much a metric counts beside others; one left out is not learned",
    )
    default_quality: Unit | None = Field(
        default=None, description="quality of an answer that nobody judged; none: not learned"
    )
    max_votes_per_source_hour: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="votes of one source with one key that are learned in an hour; none: all",
    )
    weigh_voters: bool = Field(
        default=False,
        description="weigh votes by how seldom such queries and arms get any, at most fivefold",
    )
