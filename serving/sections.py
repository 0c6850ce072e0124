"""The sections of the settings: names, defaults, ranges and units."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bandit.budget import Budget
from bandit.drift import DetectorName
from bandit.errors import BanditError, PointsmanError
from bandit.primitives import Tier
from bandit.utility import Scenario
from features.model_store import DEFAULT_MODEL
from feedback.reward import METRIC_WEIGHTS
from serving.tags import parse_tag

Seconds: TypeAlias = Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)]
Unit: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Price: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Energy: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Weight: TypeAlias = Annotated[float, Field(ge=0, le=1e3, allow_inf_nan=False)]
_HTTP_URL = re.compile(r"^https?://[^\s/?#]+([/?#]\S*)?\Z")
_DSN_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,31}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ServerSettings(_Section):
    """The HTTP port and its limits."""

    host: str = Field(
        default="127.0.0.1", description="address to listen on; beyond loopback needs keys"
    )
    port: int = Field(
        default=8080, ge=0, le=65_535, description="TCP port; 0 lets the system choose"
    )
    max_body_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=1 << 30, description="largest request body, in bytes"
    )
    drain_s: Seconds = Field(
        default=20.0, description="time that answers get to finish at a stop, seconds"
    )
    answer_timeout_s: Seconds = Field(
        default=300.0, description="for one answer over all arms that are tried, seconds"
    )
    sign_of_life_s: Seconds = Field(
        default=10.0, description="between comments in a stream that a cascade holds back, seconds"
    )
    max_connections: int = Field(
        default=1024, ge=1, le=100_000, description="requests in flight; more get 429 at once"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe log line that is written"
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="shape of a log line"
    )


class DatabaseSettings(_Section):
    """Where decisions, feedback and snapshots are kept."""

    dsn: SecretStr | None = Field(
        default=None,
        description="Postgres URL; none starts an embedded Postgres in the data folder",
    )
    data_dir: Path = Field(
        default=Path(".pointsman"), description="folder of everything kept on disk"
    )
    pool_size: int = Field(
        default=5, ge=1, le=100, description="most connections to Postgres a process"
    )
    statement_timeout_s: Seconds = Field(
        default=5.0, description="time that one statement may take, seconds"
    )
    write_timeout_s: Seconds = Field(
        default=2.0,
        description="longest wait for a decision's row before an answer leaves unlogged",
    )

    @field_validator("dsn")
    @classmethod
    def _is_postgres(cls, given: SecretStr | None) -> SecretStr | None:
        scheme, mark, rest = (given.get_secret_value() if given else "").partition("://")
        if given is not None and not (scheme in _DSN_SCHEMES and mark and rest):
            raise ValueError("want postgresql://user@host/name")
        return given


class ArmSettings(_Section):
    """One of the choices and the model behind it."""

    id: Name = Field(description="name, as logged and as clients may ask for it")
    tier: Tier = Field(description="edge (runs here), cloud (an HTTP API) or cascade (one of each)")
    backend: Literal["llama_cpp", "openai", "stand_in", "cascade"] = Field(
        description="what answers; cascade: two other arms, with a gate between them"
    )
    edge: Name | None = Field(default=None, description="arm that answers first, of a cascade")
    cloud: Name | None = Field(
        default=None, description="arm that the gate may escalate to, of a cascade"
    )
    hold_tokens: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="tokens after which a cascade's gate decides about a stream; none: its end",
    )
    model: str = Field(
        default="", max_length=200, description="model name, sent to the API and reported"
    )
    model_path: Path | None = Field(
        default=None,
        description="GGUF file of a llama_cpp arm; none takes the bundled SmolLM2-135M",
    )
    base_url: str | None = Field(
        default=None, description="OpenAI-compatible URL, ending in /v1 as a rule"
    )
    api_key: SecretStr | None = Field(default=None, description="bearer token for base_url")
    price_in: Price | None = Field(default=None, description="US dollars per million prompt tokens")
    price_out: Price | None = Field(
        default=None, description="US dollars per million completion tokens"
    )
    price_provider: str | None = Field(
        default=None, description="provider to look the price up under, such as 'openai'"
    )
    energy_in_j_per_token: Energy | None = Field(
        default=None, description="energy of a prompt token where it is not measured, joules"
    )
    energy_out_j_per_token: Energy | None = Field(
        default=None, description="energy of a completion token where it is not measured, joules"
    )
    capabilities: frozenset[str] | None = Field(
        default=None, description="what a query may ask of it; none takes the backend's own list"
    )
    context_tokens: int | None = Field(
        default=None, ge=128, description="query and answer together, in tokens; none is unknown"
    )
    answer_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="most tokens of one answer, the provider's own limit; daily caps go by it",
    )
    threads: int = Field(
        default=0, ge=0, le=256, description="threads of a llama_cpp worker; 0 leaves one core free"
    )
    workers: int = Field(default=1, ge=1, le=64, description="processes of a llama_cpp arm")
    sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="digest that model_path must have"
    )
    queue_limit: int = Field(
        default=16, ge=0, le=10_000, description="queries that may wait for this arm"
    )
    connect_timeout_s: Seconds = Field(default=5.0, description="to open a connection, seconds")
    first_token_timeout_s: Seconds = Field(
        default=30.0, description="until the first token, seconds"
    )
    total_timeout_s: Seconds = Field(default=300.0, description="for a whole answer, seconds")

    @model_validator(mode="after")
    def _complete(self) -> "ArmSettings":
        if self.id == "auto":
            raise ValueError("'auto' is what clients call the router; name the arm otherwise")
        if self.backend == "openai" and not (self.base_url and self.model):
            raise ValueError("an openai arm needs base_url and model")
        if self.base_url is not None and not _HTTP_URL.match(self.base_url):
            raise ValueError("base_url must be http:// or https:// and a host")
        self._check_cascade()
        return self

    def _check_cascade(self) -> None:
        if (self.tier == "cascade") != (self.backend == "cascade"):
            raise ValueError("an arm of tier cascade has the backend cascade, and no other arm has")
        given = {"edge": self.edge, "cloud": self.cloud, "hold_tokens": self.hold_tokens}
        if self.backend != "cascade":
            named = [name for name, value in given.items() if value is not None]
            if named:
                raise ValueError(f"{named[0]} is for an arm of tier cascade")
        elif not (self.edge and self.cloud):
            raise ValueError("a cascade needs edge and cloud, the ids of two other arms")


class CloudSettings(_Section):
    """Short way to the arm named ``cloud``: what is set here replaces what that arm has."""

    base_url: str | None = Field(default=None, description="OpenAI-compatible URL")
    api_key: SecretStr | None = Field(default=None, description="bearer token for it")
    model: str | None = Field(default=None, max_length=200, description="model name to ask it for")
    price_in: Price | None = Field(default=None, description="US dollars per million prompt tokens")
    price_out: Price | None = Field(
        default=None, description="US dollars per million completion tokens"
    )
    price_provider: str | None = Field(
        default=None, description="provider to look the price up under"
    )


class ScenarioSettings(_Section):
    """Weights of quality, cost and latency; they sum to 1."""

    w_quality: Unit = Field(description="weight of judged quality")
    w_cost: Unit = Field(description="weight of cost")
    w_latency: Unit = Field(description="weight of latency")
    mes: float | None = Field(
        default=None, gt=0, le=1, description="quality that is enough; none: more is always better"
    )
    cost_ceiling_usd: float = Field(
        default=0.02,
        gt=0,
        allow_inf_nan=False,
        description="US dollars where the cost term reaches 0",
    )
    latency_ceiling_s: Seconds = Field(
        default=30.0, description="seconds at which the latency term is 0"
    )
    usd_per_kwh: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="US dollars that a kilowatt-hour counts in the cost term, beside the bill",
    )

    @model_validator(mode="after")
    def _sums(self) -> "ScenarioSettings":
        try:
            self.scenario("this one")
        except BanditError as error:
            raise ValueError(str(error)) from error
        return self

    def scenario(self, name: str) -> Scenario:
        """The core's value."""
        return Scenario(name, **self.model_dump())


class ChallengerSettings(_Section):
    """A policy that learns beside the one that serves, and takes its place when it is better."""

    name: Name = Field(description="what alarms call it; not 'live'")
    policy: Literal["composed", "direct"] = Field(default="composed", description="as policy.name")
    gamma: float = Field(default=20.0, gt=0, le=1e6, description="as policy.gamma")
    gamma_votes: int = Field(default=625, ge=0, le=10_000_000, description="as policy.gamma_votes")
    floor: float | None = Field(
        default=None,
        ge=0.001,
        le=0.5,
        description="as policy.floor and not below it; none takes that one",
    )


class GuardSettings(_Section):
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


class BudgetSettings(_Section):
    """What queries may cost: those with one tag, or all of them."""

    name: Name = Field(description="name, as shown and stored")
    tag: str | None = Field(
        default=None,
        max_length=129,
        description="name=value of the queries that it is for; none is for every query",
    )
    usd_per_query: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="mean US dollars a query that a price on money aims at",
    )
    usd_per_day: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="most US dollars between two midnights UTC, never exceeded",
    )

    @model_validator(mode="after")
    def _complete(self) -> "BudgetSettings":
        try:
            self.budget()
        except PointsmanError as error:
            raise ValueError(str(error)) from error
        return self

    def budget(self) -> Budget:
        """The core's value."""
        tag = None if self.tag is None else parse_tag(self.tag, "tag")
        return Budget(self.name, tag, self.usd_per_query, self.usd_per_day)


class PolicySettings(_Section):
    """How arms are chosen."""

    name: Literal["composed", "direct"] = Field(
        default="composed", description="learn quality, cost and latency apart, or their sum"
    )
    gamma: float = Field(
        default=20.0,
        gt=0,
        le=1e6,
        description="exploitation against exploration; higher explores less",
    )
    gamma_votes: int = Field(
        default=625,
        ge=0,
        le=10_000_000,
        description="votes until gamma is reached, from a quarter; 0 keeps it constant",
    )
    floor: float = Field(
        default=0.02, ge=0.001, le=0.5, description="least probability of an eligible arm"
    )
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
        default=0.99,
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


class FeatureSettings(_Section):
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


class LearnerSettings(_Section):
    """The one that learns from the log."""

    enabled: bool = Field(
        default=True, description="learn in this process; off where 'pointsman learn' runs"
    )
    poll_s: Seconds = Field(default=0.25, description="time between looks at the log, seconds")
    publish_s: Seconds = Field(default=0.5, description="least time between two snapshots, seconds")
    batch: int = Field(default=500, ge=1, le=100_000, description="events read at once")


class FeedbackSettings(_Section):
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
    weigh_voters: bool = Field(
        default=False,
        description="weigh votes by how seldom such queries and arms get any, at most fivefold",
    )


class JudgeSettings(_Section):
    """A model that scores a sample of answers in the background, corrected by people."""

    enabled: bool = Field(default=False, description="judge answers")
    in_server: bool = Field(
        default=True, description="in the server's process; off where 'pointsman judge' runs"
    )
    backend: Literal["openai", "stand_in"] = Field(
        default="openai", description="what judges; stand_in is for trying it out only"
    )
    base_url: str | None = Field(default=None, description="OpenAI-compatible URL of the judge")
    api_key: SecretStr | None = Field(default=None, description="bearer token for base_url")
    model: str = Field(
        default="", max_length=50, pattern=r"^[A-Za-z0-9_.:@/+-]*$", description="model name"
    )
    price_in: Price | None = Field(default=None, description="US dollars per million prompt tokens")
    price_out: Price | None = Field(
        default=None, description="US dollars per million completion tokens"
    )
    price_provider: str | None = Field(
        default=None, description="provider to look the price up under, such as 'openai'"
    )
    local: bool = Field(
        default=False,
        description="it runs inside your boundary and may see what privacy kept at the edge",
    )
    may_be_an_arm: bool = Field(
        default=False, description="allow a model that is routed to, which favours its own answers"
    )
    sample_rate: Unit = Field(default=0.1, description="share of answers that are judged")
    max_usd_per_day: float = Field(
        default=1.0, ge=0, le=1e6, allow_inf_nan=False, description="US dollars a day (UTC) at most"
    )
    max_per_minute: float = Field(
        default=30.0, gt=0, le=1e6, allow_inf_nan=False, description="questions a minute at most"
    )
    queue_limit: int = Field(
        default=100, ge=1, le=100_000, description="answers that may wait; more are dropped"
    )
    concurrency: int = Field(default=2, ge=1, le=256, description="questions that are out at once")
    timeout_s: Seconds = Field(default=60.0, description="for one question, seconds")
    max_chars: int = Field(
        default=12_000, ge=200, le=1_000_000, description="longest text sent of each part"
    )
    max_answer_tokens: int = Field(
        default=300, ge=16, le=100_000, description="longest reply of the judge, in tokens"
    )
    correct: bool = Field(
        default=True, description="learn from people's audits how far the judge is off"
    )
    audit_rate: Unit = Field(default=0.05, description="share of scores that are shown to people")
    audit_strategy: Literal["neyman", "uniform"] = Field(
        default="neyman", description="where an audit says most, or each score alike"
    )
    probe_rate: Unit = Field(
        default=0.0,
        description="share of judged queries that another arm answers too, unseen, at this cost",
    )

    @model_validator(mode="after")
    def _complete(self) -> "JudgeSettings":
        if self.enabled and self.backend == "openai" and not (self.base_url and self.model):
            raise ValueError("an openai judge needs base_url and model")
        if self.base_url is not None and not _HTTP_URL.match(self.base_url):
            raise ValueError("base_url must be http:// or https:// and a host")
        return self

    @property
    def corrected(self) -> bool:
        """Whether the policy corrects a judge."""
        return self.enabled and self.correct


class PrivacySettings(_Section):
    """What of people's text is kept."""

    store_prompts: bool = Field(default=False, description="keep the text of queries in the log")
    store_answers: bool = Field(default=False, description="keep the text of answers in the log")


class AlarmSettings(_Section):
    """Who is told when learning notices something: a fault, a switch back, a promotion."""

    webhook_url: str | None = Field(
        default=None,
        description="http(s) URL that every alarm is posted to as JSON; none tells no one",
    )
    webhook_token: SecretStr | None = Field(
        default=None, description="sent to the webhook as a bearer token"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="key of the HMAC-SHA256 signature of what is posted"
    )
    timeout_s: Seconds = Field(default=5.0, description="for one attempt to post, seconds")
    give_up_s: Seconds = Field(
        default=86_400.0,
        description="an alarm that could not be posted for so long is given up, seconds",
    )

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, given: str | None) -> str | None:
        if given is not None and not _HTTP_URL.match(given):
            raise ValueError("webhook_url must be http:// or https:// and a host")
        return given
