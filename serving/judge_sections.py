"""Sections of the settings: who judges answers, and who is told of alarms."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from serving.section import HTTP_URL, Price, Seconds, Section, Unit


class JudgeSettings(Section):
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
        if self.base_url is not None and not HTTP_URL.match(self.base_url):
            raise ValueError("base_url must be http:// or https:// and a host")
        return self

    @property
    def corrected(self) -> bool:
        """Whether the policy corrects a judge."""
        return self.enabled and self.correct


class AlarmSettings(Section):
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
        if given is not None and not HTTP_URL.match(given):
            raise ValueError("webhook_url must be http:// or https:// and a host")
        return given
