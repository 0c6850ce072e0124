"""Sections of the settings: the arms and the models behind them."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, SecretStr, model_validator

from bandit.primitives import Tier
from serving.section import HTTP_URL, Name, Price, Seconds, Section

Energy: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class ArmSettings(Section):
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
        if self.base_url is not None and not HTTP_URL.match(self.base_url):
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


class CloudSettings(Section):
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
