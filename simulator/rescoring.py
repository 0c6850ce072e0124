"""The scenarios that a log is scored by; it need not have known them when it was written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from bandit.utility import Scenario
from serving.sections import ScenarioSettings
from serving.yaml_source import read
from simulator.errors import BadStudyError, nearest

OWN = "own"


@dataclass(frozen=True, slots=True)
class ScenarioWish:
    """Options that choose a scenario, as given.

    Attributes
    ----------
    weights
        Three numbers of quality, cost and latency, comma-separated.
    file
        YAML with scenarios by name, as under ``scenarios`` in the settings.
    """

    name: str | None = None
    weights: str | None = None
    mes: float | None = None
    file: Path | None = None

    def known(self, configured: Mapping[str, Scenario]) -> dict[str, Scenario]:
        """The configured scenarios, and those of the file.

        Raises
        ------
        BadStudyError
            If the file has something else.
        """
        return {**configured, **(_read(self.file) if self.file else {})}

    def choose(self, known: Mapping[str, Scenario], default: str) -> Scenario | None:
        """The one scenario that was asked for; None where none was.

        Raises
        ------
        BadStudyError, BadScenarioError
            If there is no such scenario, or its numbers make none.
        """
        if self.name is not None and self.name not in known:
            raise BadStudyError("--scenario", self.name, "unknown" + nearest(self.name, [*known]))
        if self.weights is None and self.mes is None:
            return None if self.name is None else known[self.name]
        scenario = replace(known[self.name or default], name=OWN)
        if self.weights is not None:
            scenario = _weighted(scenario, self.weights)
        return scenario if self.mes is None else replace(scenario, mes=self.mes)


def _weighted(scenario: Scenario, text: str) -> Scenario:
    try:
        quality, cost, latency = (float(part) for part in text.split(","))
    except ValueError:
        want = "want three numbers that sum to 1, such as 0.7,0.2,0.1"
        raise BadStudyError("--weights", text, want) from None
    return replace(scenario, w_quality=quality, w_cost=cost, w_latency=latency)


def _read(path: Path) -> dict[str, Scenario]:
    values = read(path, {}).values
    values = values.get("scenarios", values)
    found = {}
    for name, numbers in values.items():
        try:
            found[name] = ScenarioSettings.model_validate(numbers).scenario(name)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            why = f"{where}: {first['msg'].removeprefix('Value error, ')}"
            raise BadStudyError("--scenarios", str(path), why) from None
    return found
