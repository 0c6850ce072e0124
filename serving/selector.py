"""What a caller asks for in ``model``: a scenario, a tier, an arm or a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bandit.utility import Scenario
from serving.arms import ArmSpec
from serving.errors import BadRequestError, ModelNotFoundError

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Wish:
    """How the caller wants to be routed, as it came: the ``model`` field and our own extras.

    Attributes
    ----------
    min_quality
        In (0, 1]: replaces the scenario's minimal expectation score.
    """

    model: str = AUTO
    scenario: str | None = None
    min_quality: float | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """A wish understood: the scenario, and the arms to choose from (None for all).

    ``pin`` is the arm that must answer, where just one is left.
    """

    scenario: Scenario
    only: frozenset[str] | None = None

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
        self._default = default_scenario
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
        if head == AUTO and (tail in self._scenarios or wish.model == AUTO):
            return Selection(self._scenario(wish, tail or None))
        only = self._named.get(wish.model)
        if only is None:
            raise ModelNotFoundError(wish.model, self.names)
        return Selection(self._scenario(wish, None), only)

    def _scenario(self, wish: Wish, in_model: str | None) -> Scenario:
        if in_model and wish.scenario and in_model != wish.scenario:
            raise BadRequestError(
                f"model asks for scenario {in_model!r} and pointsman.scenario for another one",
                "pointsman.scenario",
            )
        name = in_model or wish.scenario or self._default
        if name not in self._scenarios:
            known = ", ".join(self._scenarios)
            raise BadRequestError(
                f"no scenario {name[:80]!r}; known: {known}", "pointsman.scenario", "bad_scenario"
            )
        scenario = self._scenarios[name]
        return scenario if wish.min_quality is None else replace(scenario, mes=wish.min_quality)


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
