"""What a caller asks for in ``model``: a scenario, a tier, an arm or a model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bandit.utility import Scenario
from serving.arms import ArmSpec
from serving.errors import BadRequestError, ModelNotFoundError

AUTO = "auto"
OWN = "own"
"""How the names of scenarios begin whose numbers came with the request."""


class Weights(NamedTuple):
    """Weights of quality, cost and latency; they sum to 1."""

    quality: float
    cost: float
    latency: float


@dataclass(frozen=True, slots=True)
class Wish:
    """How the caller wants to be routed, as it came: the ``model`` field and our own extras.

    Attributes
    ----------
    weights
        Replace the scenario's.
    mes
        In (0, 1]: replaces the scenario's minimal expectation score.
    max_cost_usd, max_latency_s
        The most that this answer should cost and take. They replace the scenario's ceilings, so
        that an answer at them is worth no more than a free or instant one is; and an arm that is
        sure to break one does not answer.
    tags
        What the caller and its key say of themselves; budgets go by them.
    """

    model: str = AUTO
    scenario: str | None = None
    mes: float | None = None
    weights: Weights | None = None
    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> str | None:
        """The scenario that it names, in ``model`` or beside it; None is the default."""
        head, _, tail = self.model.partition(":")
        return (tail if head == AUTO and tail else None) or self.scenario

    @property
    def own_numbers(self) -> bool:
        """Whether any number of the scenario is the caller's own."""
        numbers = (self.mes, self.weights, self.max_cost_usd, self.max_latency_s)
        return any(number is not None for number in numbers)


@dataclass(frozen=True, slots=True)
class Selection:
    """A wish understood: the scenario, and the arms to choose from (None for all).

    The two limits are the caller's own.
    """

    scenario: Scenario
    only: frozenset[str] | None = None
    max_cost_usd: float | None = None
    max_wait_s: float | None = None

    @property
    def pin(self) -> str | None:
        """The one arm that was asked for, if it is one."""
        return next(iter(self.only)) if self.only is not None and len(self.only) == 1 else None


class Selector:
    """Understands wishes, given what is configured."""

    def __init__(
        self, arms: Sequence[ArmSpec], *, scenarios: Mapping[str, Scenario], default_scenario: str
    ) -> None:
        self._arms = tuple(arms)
        self._scenarios = scenarios
        self.default_scenario = default_scenario
        self._named = _named(self._arms)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that ``model`` may be, ``auto`` first."""
        autos = (AUTO, *(f"{AUTO}:{name}" for name in self._scenarios))
        return tuple(dict.fromkeys((*autos, *self._named)))

    def select(self, wish: Wish) -> Selection:
        """What ``wish`` means.

        Raises
        ------
        ModelNotFoundError
            If nothing has that name.
        BadRequestError
            If the scenario is unknown, or named twice and differently.
        """
        head, _, tail = wish.model.partition(":")
        only = None
        if head != AUTO or not (tail in self._scenarios or wish.model == AUTO):
            only = self._named.get(wish.model)
            if only is None:
                raise ModelNotFoundError(wish.model, self.names)
        return Selection(self._scenario(wish), only, wish.max_cost_usd, wish.max_latency_s)

    def _scenario(self, wish: Wish) -> Scenario:
        if wish.scenario and wish.named != wish.scenario:
            raise BadRequestError(
                f"model asks for scenario {wish.named!r} and pointsman.scenario for another one",
                "pointsman.scenario",
            )
        name = wish.named or self.default_scenario
        if name not in self._scenarios:
            known = ", ".join(self._scenarios)
            raise BadRequestError(
                f"no scenario {name[:80]!r}; known: {known}", "pointsman.scenario", "bad_scenario"
            )
        scenario = self._scenarios[name]
        return _with_numbers(scenario, wish) if wish.own_numbers else scenario


def _with_numbers(scenario: Scenario, wish: Wish) -> Scenario:
    """``scenario`` with the caller's numbers, under a name that says what they are."""
    weights = wish.weights or Weights(scenario.w_quality, scenario.w_cost, scenario.w_latency)
    own = replace(
        scenario,
        w_quality=weights.quality,
        w_cost=weights.cost,
        w_latency=weights.latency,
        mes=scenario.mes if wish.mes is None else wish.mes,
        cost_ceiling_usd=wish.max_cost_usd or scenario.cost_ceiling_usd,
        latency_ceiling_s=wish.max_latency_s or scenario.latency_ceiling_s,
    )
    return own if own == scenario else replace(own, name=own_name(own))


def own_name(scenario: Scenario) -> str:
    """A name made of the scenario's rounded numbers.

    A policy keeps the typical size of gaps by name: scenarios that differ little share one, those
    that differ much do not, and there are only so many. Weights and MES are rounded to tenths,
    ceilings to a half power of ten.

    Examples
    --------
    >>> own_name(Scenario("x", 0.72, 0.18, 0.1, mes=0.8))
    'own-q0.7-c0.2-l0.1-m0.8-usd0.03-s30'
    """
    quality, cost = round(scenario.w_quality, 1), round(scenario.w_cost, 1)
    latency = max(0.0, 1.0 - quality - cost)
    parts = [OWN, f"q{quality:.1f}", f"c{cost:.1f}", f"l{latency:.1f}"]
    parts += [] if scenario.mes is None else [f"m{max(0.1, scenario.mes):.1f}"]
    parts += [f"usd{_coarse(scenario.cost_ceiling_usd)}", f"s{_coarse(scenario.latency_ceiling_s)}"]
    return "-".join(parts)


def _coarse(value: float) -> str:
    exponent = round(2.0 * math.log10(value)) / 2.0
    return f"{float(f'{10.0**exponent:.1g}'):g}"


def _named(arms: Sequence[ArmSpec]) -> dict[str, frozenset[str]]:
    """Names to arms. An arm's id wins over a tier, a tier over a model."""
    named: dict[str, frozenset[str]] = {}
    for attribute in ("arm_id", "tier", "model"):
        found: dict[str, set[str]] = {}
        for arm in arms:
            found.setdefault(getattr(arm, attribute), set()).add(arm.arm_id)
        for name, ids in found.items():
            named.setdefault(name, frozenset(ids))
    return named
