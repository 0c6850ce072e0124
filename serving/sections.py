"""Sections of the settings: the server, what it keeps, and what an answer is worth and may cost."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from bandit.budget import BadBudgetError, Budget
from bandit.objectives import LatencyObjective, QualityFloor
from bandit.utility import BadScenarioError, Scenario
from serving.errors import SettingsError
from serving.section import Name, Seconds, Section, Unit
from serving.tags import parse_tag

_DSN_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


class ServerSettings(Section):
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


class DatabaseSettings(Section):
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


class ScenarioSettings(Section):
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
        except BadScenarioError as error:
            raise ValueError(error.why) from error
        return self

    def scenario(self, name: str) -> Scenario:
        """The core's value."""
        return Scenario(name, **self.model_dump())


class BudgetSettings(Section):
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
        except BadBudgetError as error:
            raise ValueError(error.why) from error
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return self

    def budget(self) -> Budget:
        """The core's value."""
        tag = None if self.tag is None else parse_tag(self.tag, "tag")
        return Budget(self.name, tag, self.usd_per_query, self.usd_per_day)


class ObjectiveSettings(Section):
    """What answers keep to, on average, by a price on what breaks it."""

    p95_latency_s: Seconds | None = Field(
        default=None, description="95 of 100 answers are at least this quick, seconds; none: off"
    )
    quality_floor: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="least mean judged quality over 500 judgements, from 0 to 1; none: off",
    )

    @property
    def any(self) -> bool:
        """Whether there is one to keep."""
        return self.p95_latency_s is not None or self.quality_floor is not None

    def latency(self, gamma: float) -> LatencyObjective | None:
        """The core's value."""
        return None if self.p95_latency_s is None else LatencyObjective(self.p95_latency_s, gamma)

    def floor(self, gamma: float) -> QualityFloor | None:
        """The core's value."""
        return None if self.quality_floor is None else QualityFloor(self.quality_floor, gamma)


class PrivacySettings(Section):
    """What of people's text is kept."""

    store_prompts: bool = Field(default=False, description="keep the text of queries in the log")
    store_answers: bool = Field(default=False, description="keep the text of answers in the log")
