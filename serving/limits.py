"""What the bearer of a key may ask of a scenario, and how often it may ask at all."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from serving.errors import KeyLimitError, SettingsError
from serving.selector import AUTO, Wish


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of one API key on its requests and their scenarios.

    Attributes
    ----------
    scenarios
        Those it may name; none stands for all. Where the server's default is not among them, the
        first one is this key's.
    own_numbers
        Whether a request may bring weights and ceilings of its own.
    min_mes, max_mes
        Range, within (0, 1], of the minimal expectation scores that a request may bring.
    pins
        Whether a request may ask for an arm instead of leaving the choice to the policy.
    max_requests_per_minute
        Requests of any kind that one server answers in a minute; None is any number.

    Examples
    --------
    >>> KeyLimits(("economy",)).admit(Wish("auto"), default="balanced").scenario
    'economy'
    """

    scenarios: tuple[str, ...] = field(default_factory=tuple)
    own_numbers: bool = True
    min_mes: float = 0.0
    max_mes: float = 1.0
    max_requests_per_minute: int | None = None
    pins: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_mes <= self.max_mes <= 1.0:
            raise SettingsError(
                "--min-mes, --max-mes",
                f"{self.min_mes:g} to {self.max_mes:g} is not a range within [0, 1]",
            )
        most = self.max_requests_per_minute
        if most is not None and most < 1:
            raise SettingsError("--max-requests-per-minute", f"{most}; want at least 1")

    def __str__(self) -> str:
        """For a table of keys; empty where nothing is limited."""
        words = [*self.scenarios, *([] if self.own_numbers else ["no own weights or ceilings"])]
        words += [] if self.pins else ["no arm of its own choice"]
        if (self.min_mes, self.max_mes) != (0.0, 1.0):
            words.append(f"mes {self.min_mes:g} to {self.max_mes:g}")
        if self.max_requests_per_minute is not None:
            words.append(f"{self.max_requests_per_minute} a minute")
        return ", ".join(words)

    def admit(self, wish: Wish, *, default: str) -> Wish:
        """``wish`` itself, or with this key's own default scenario.

        Raises
        ------
        KeyLimitError
            If the wish goes beyond what the key may ask.
        """
        if not self.pins and wish.model.partition(":")[0] != AUTO:
            raise KeyLimitError("model", f"{wish.model[:80]!r}", AUTO)
        admitted = self._with_scenario(wish, default)
        asked = {
            "weights": wish.weights,
            "max_cost_usd": wish.max_cost_usd,
            "max_latency_s": wish.max_latency_s,
        }
        brought = [name for name, value in asked.items() if value is not None]
        if brought and not self.own_numbers:
            raise KeyLimitError(f"pointsman.{brought[0]}", "weights and ceilings of its own")
        if wish.mes is not None and not self.min_mes <= wish.mes <= self.max_mes:
            allowed = f"{self.min_mes:g} to {self.max_mes:g}"
            raise KeyLimitError("pointsman.mes", f"an mes of {wish.mes:g}", allowed)
        return admitted

    def _with_scenario(self, wish: Wish, default: str) -> Wish:
        name = wish.named or default
        if not self.scenarios or name in self.scenarios:
            return wish
        if wish.named is None:
            return replace(wish, scenario=self.scenarios[0])
        raise KeyLimitError(
            "pointsman.scenario" if wish.scenario else "model",
            f"the scenario {name[:80]!r}",
            ", ".join(self.scenarios),
        )


NO_LIMITS = KeyLimits()
"""What a key may ask unless it was made otherwise: everything."""


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse scenarios that there are not.

    Raises
    ------
    SettingsError
        Naming those that there are.
    """
    there = list(known)
    for name in names:
        if name not in there:
            raise SettingsError("--scenario", f"no scenario {name!r}; there are {', '.join(there)}")
