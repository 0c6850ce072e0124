"""Every setting, its default, its unit; read from one YAML file and ``POINTSMAN_…`` variables.

A nested setting's variable joins the names with two underscores: ``POINTSMAN_SERVER__PORT``.
Precedence: command line, environment, file, default.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as EnvironmentSettingsError

from bandit.utility import PRESETS, Scenario
from serving.arm_sections import ArmSettings, CloudSettings
from serving.errors import SettingsError
from serving.judge_sections import AlarmSettings, JudgeSettings
from serving.learning_sections import (
    FeatureSettings,
    FeedbackSettings,
    GuardSettings,
    LearnerSettings,
    PolicySettings,
)
from serving.section import Name
from serving.sections import (
    BudgetSettings,
    DatabaseSettings,
    ObjectiveSettings,
    PrivacySettings,
    ScenarioSettings,
    ServerSettings,
)
from serving.yaml_source import Location, YamlDocument, read

ENV_PREFIX = "POINTSMAN_"
DEFAULT_FILE = Path("pointsman.yaml")
# Read by the command line: the settings file, and where a running server is and with which key.
_NOT_SETTINGS = frozenset({"config", "url", "key"})


def _default_arms() -> tuple[ArmSettings, ...]:
    return (
        ArmSettings(id="edge", tier="edge", backend="llama_cpp"),
        ArmSettings(id="cloud", tier="cloud", backend="stand_in"),
    )


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    arms: tuple[ArmSettings, ...] = Field(
        default_factory=_default_arms, min_length=1, max_length=32, description="the choices"
    )
    cloud: CloudSettings = CloudSettings()
    scenario: str = Field(default="balanced", description="scenario of queries that ask for none")
    scenarios: dict[Name, ScenarioSettings] = Field(
        default_factory=dict, description="scenarios of your own, besides the presets"
    )
    budgets: tuple[BudgetSettings, ...] = Field(
        default=(), max_length=64, description="what queries may cost; every one that fits counts"
    )
    objectives: ObjectiveSettings = ObjectiveSettings()
    policy: PolicySettings = PolicySettings()
    guard: GuardSettings = GuardSettings()
    features: FeatureSettings = FeatureSettings()
    learner: LearnerSettings = LearnerSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    judge: JudgeSettings = JudgeSettings()
    privacy: PrivacySettings = PrivacySettings()
    alarms: AlarmSettings = AlarmSettings()

    @model_validator(mode="before")
    @classmethod
    def _apply_cloud(cls, values: Any) -> Any:
        return _with_cloud(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        ids = [arm.id for arm in self.arms]
        twice = {name for name in ids if ids.count(name) > 1}
        if twice:
            raise ValueError(f"two arms have the id {min(twice)!r}")
        for arm in self.arms:
            _check_parts(arm, self.arms)
        self._check_judge()
        if self.scenario not in self.known_scenarios:
            near = _nearest(self.scenario, self.known_scenarios)
            raise ValueError(f"scenario {self.scenario!r} does not exist{near}")
        self._check_budgets()
        return self

    def _check_budgets(self) -> None:
        for what in ("name", "tag"):
            seen = [getattr(budget, what) for budget in self.budgets]
            twice = [value for value in seen if seen.count(value) > 1]
            if twice:
                shown = "for every query" if twice[0] is None else f"with the {what} {twice[0]!r}"
                raise ValueError(f"budgets: two are {shown}; make them one")
        paced = [budget.name for budget in self.budgets if budget.usd_per_query is not None]
        if paced and self.policy.name == "direct":
            raise ValueError(
                f"budgets.{paced[0]}: the policy 'direct' does not expect bills, so a mean bill "
                "cannot be kept; use 'composed', or usd_per_day alone"
            )
        if self.objectives.any and self.policy.name == "direct":
            raise ValueError(
                "objectives: the policy 'direct' does not expect latency and quality apart, so "
                "neither can be kept; use 'composed'"
            )

    def _check_judge(self) -> None:
        judge = self.judge
        if not judge.enabled or judge.backend != "openai" or judge.may_be_an_arm:
            return
        for arm in self.arms:
            if (arm.base_url, arm.model) == (judge.base_url, judge.model):
                raise ValueError(
                    f"judge: {judge.model!r} is the arm {arm.id!r}, and models favour their own "
                    "answers; take another model, or set judge.may_be_an_arm"
                )

    @property
    def known_scenarios(self) -> dict[str, Scenario]:
        """Presets and own scenarios by name; an own one replaces a preset of its name."""
        own = {name: section.scenario(name) for name, section in self.scenarios.items()}
        return {**PRESETS, **own}

    @property
    def postgres_dir(self) -> Path:
        """Folder of the embedded Postgres."""
        return self.database.data_dir / "postgres"

    @property
    def models_dir(self) -> Path:
        """Folder of exported embedding models."""
        return self.features.cache_dir or self.database.data_dir / "models"

    @property
    def keys_file(self) -> Path:
        """Where API keys are kept, hashed."""
        return self.database.data_dir / "keys.json"


def _check_parts(cascade: ArmSettings, arms: Iterable[ArmSettings]) -> None:
    tiers = {arm.id: arm.tier for arm in arms}
    for tier, part in (("edge", cascade.edge), ("cloud", cascade.cloud)):
        if part is None:
            continue
        if part not in tiers:
            near = _nearest(part, [name for name in tiers if name != cascade.id])
            raise ValueError(f"{tier} of the cascade {cascade.id!r}: no arm {part!r}{near}")
        if tiers[part] != tier:
            raise ValueError(
                f"{tier} of the cascade {cascade.id!r}: {part!r} is of tier {tiers[part]}"
            )


def _with_cloud(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the arm ``cloud`` as the section ``cloud`` wants it."""
    given = values.get("cloud")
    if not isinstance(given, Mapping) or not given:
        return values
    arms = values.get("arms")
    if arms is None:
        arms = [arm.model_dump() for arm in _default_arms()]
    known = isinstance(arms, (list, tuple)) and all(isinstance(arm, Mapping) for arm in arms)
    wanted = {name: value for name, value in given.items() if name in CloudSettings.model_fields}
    if "base_url" in wanted:
        wanted["backend"] = "openai"
    if not known or all(arm.get("id") != "cloud" for arm in arms):
        raise ValueError("the section 'cloud' is about an arm with the id 'cloud'; there is none")
    merged = [{**arm, **wanted} if arm.get("id") == "cloud" else arm for arm in arms]
    return {**values, "arms": merged}


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force.

    Parameters
    ----------
    path
        The file; None takes ``POINTSMAN_CONFIG``, else ``pointsman.yaml`` if it is there.
    environ
        Where ``${NAME}`` is looked up; None is this process's environment. ``POINTSMAN_…``
        variables always come from the process.
    overrides
        What the command line says, nested as in the file.

    Raises
    ------
    SettingsError
        With file and line, or the variable, of everything that cannot be used.
    """
    environ = os.environ if environ is None else environ
    document = _document(path, environ)
    _check_variables(os.environ)
    values = {name: value for name, value in document.values.items() if value is not None}

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return init_settings, env_settings, InitSettingsSource(settings_cls, values)

    try:
        return Loaded(**(overrides or {}))
    except ValidationError as error:
        raise _explain(error, document) from None
    except EnvironmentSettingsError as error:
        raise SettingsError("environment", str(error), "write lists and mappings as JSON") from None


def _document(path: Path | None, environ: Mapping[str, str]) -> YamlDocument:
    named = path or (Path(environ["POINTSMAN_CONFIG"]) if "POINTSMAN_CONFIG" in environ else None)
    if named is None and not DEFAULT_FILE.exists():
        return YamlDocument(DEFAULT_FILE)
    return read(named or DEFAULT_FILE, environ)


def _check_variables(environ: Iterable[str]) -> None:
    # pydantic-settings ignores what it does not know at the top level, so a typo would do nothing.
    for variable in environ:
        if not variable.startswith(ENV_PREFIX):
            continue
        first = variable.removeprefix(ENV_PREFIX).lower().partition("__")[0]
        if first not in Settings.model_fields and first not in _NOT_SETTINGS:
            raise SettingsError(
                variable, f"unknown setting{_nearest(first, Settings.model_fields)}"
            )


def _explain(error: ValidationError, document: YamlDocument) -> SettingsError:
    found = error.errors()
    # A list whose items are wrong is also called too short: say the cause, not the consequence.
    causes = [one for one in found if not any(_above(one["loc"], other["loc"]) for other in found)]
    lines = [_line(one["loc"], one["type"], one["msg"], document) for one in causes]
    where, why = lines[0]
    return SettingsError(where, "\n".join([why, *(f"{at}: {what}" for at, what in lines[1:])]))


def _above(location: Location, other: Location) -> bool:
    return len(location) < len(other) and other[: len(location)] == location


def _line(location: Location, kind: str, message: str, document: YamlDocument) -> tuple[str, str]:
    name = ".".join(map(str, location))
    variable = ENV_PREFIX + "__".join(map(str, location)).upper()
    if kind == "extra_forbidden":
        why = f"unknown setting{_nearest(str(location[-1]), _siblings(location))}"
    else:
        why = message.removeprefix("Value error, ").replace("Input should be ", "want ")
    if variable in os.environ:
        return variable, why
    where = document.where(location)
    return (where or "settings", f"{name}: {why}" if name else why)


def _siblings(location: Location) -> Iterable[str]:
    """Names that are valid where ``location`` ends."""
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        inner = [arg for arg in get_args(model) if isinstance(arg, type)]
        model = next((arg for arg in inner if issubclass(arg, BaseModel)), model)
    return model.model_fields if hasattr(model, "model_fields") else ()


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names)}" if names else ""
