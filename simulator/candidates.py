"""Policies that could have run instead: what each would have done on a logged decision."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bandit.policies.exploration import inverse_gap_weighting
from bandit.policy import Policy
from bandit.primitives import Decision, Estimate
from bandit.utility import PRESETS, Scenario
from simulator.errors import BadStudyError, nearest

Pmf: TypeAlias = tuple[float, ...]
_GAMMA, _FLOOR = 100.0, 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy to be valued from the log.

    Attributes
    ----------
    pmf
        Its probabilities over ``decision.arms``, in their order; None where it cannot say.
    arm
        The one arm that it would always play, if it is of that kind.
    scenario
        The scenario that it chooses by, if not the decision's own.
    schema_version
        The features that it knows; of decisions with others it says nothing. None looks at none.
    """

    name: str
    pmf: Callable[[Decision], Pmf | None]
    arm: str | None = None
    scenario: Scenario | None = None
    schema_version: str | None = None

    def knows(self, decision: Decision) -> bool:
        """Whether the decision's features are those that it knows."""
        return self.schema_version in (None, decision.context.schema_version)


def as_logged() -> Candidate:
    """The policy that wrote the log."""
    return Candidate("logged", lambda decision: decision.prediction.pmf)


def always(arm_id: str) -> Candidate:
    """``arm_id`` wherever it was eligible; elsewhere what the log did, as no router could do it."""

    def pmf(decision: Decision) -> Pmf:
        arms = decision.prediction.arms
        if arm_id not in arms:
            return decision.prediction.pmf
        return tuple(float(arm == arm_id) for arm in arms)

    return Candidate(f"always:{arm_id}", pmf, arm=arm_id)


def check_arms(candidates: Sequence[Candidate], known: Collection[str]) -> None:
    """Refuse candidates that would always play an arm that there is not.

    Raises
    ------
    BadStudyError
        Naming the arms that there are.
    """
    for candidate in candidates:
        if candidate.arm is not None and candidate.arm not in known:
            why = f"no such arm in the log or the settings{nearest(candidate.arm, sorted(known))}"
            raise BadStudyError("--candidate", candidate.name, why)


def by_policy(
    policy: Policy, *, scenario: Scenario | None = None, schema_version: str | None = None
) -> Candidate:
    """A policy as it is now, such as one restored from a snapshot; it learns nothing meanwhile.

    Fit for rows that it has not learned from: on its own training rows it looks better than it is.
    ``schema_version`` is that of the features it was taught.
    """

    def pmf(decision: Decision) -> Pmf | None:
        if not decision.context.features_ok:
            return None
        wanted = scenario or decision.scenario
        return policy.predict(decision.context, decision.arms, wanted).pmf

    return Candidate(policy.version, pmf, scenario=scenario, schema_version=schema_version)


def explored(
    *, gamma: float, floor: float, scenario: Scenario | None = None, name: str = ""
) -> Candidate:
    """The logged estimates under another exploration, or another scenario, or both.

    Parameters
    ----------
    gamma
        Of inverse-gap weighting, per unit of utility; infinity leaves the floor and the best arm.
    floor
        Least probability of an eligible arm.
    scenario
        Utilities are composed anew from the logged estimates of quality, cost and latency; None
        keeps the logged utilities. What was not estimated counts as the scenario's ceiling.
    """

    def pmf(decision: Decision) -> Pmf | None:
        estimates = decision.prediction.estimates
        if len(estimates) != len(decision.prediction.arms) or not estimates:
            return None
        known = {arm.arm_id: arm.features.get("energy_j") for arm in decision.arms}
        utilities = [
            _utility(e, scenario, known.get(arm))
            for arm, e in zip(decision.prediction.arms, estimates, strict=True)
        ]
        return inverse_gap_weighting(utilities, gamma=min(gamma, 1e12), floor=floor)

    shown = name or f"explore:gamma={gamma:g},floor={floor:g}"
    return Candidate(shown, pmf, scenario=scenario)


def parse_candidate(text: str, *, scenarios: Mapping[str, Scenario] = PRESETS) -> Candidate:
    """A candidate from its name on the command line.

    ``logged``; ``always:ARM``; ``scenario:NAME``; ``explore:gamma=G,floor=F``, where a name that
    leaves gamma or floor open means 100 and .05.

    Parameters
    ----------
    scenarios
        Those that it may name.

    Raises
    ------
    BadStudyError
        If it is none of these.

    Examples
    --------
    >>> parse_candidate("always:edge").name
    'always:edge'
    """
    kind, _, rest = text.partition(":")
    if text == "logged":
        return as_logged()
    if kind == "always" and rest:
        return always(rest)
    if kind == "scenario":
        if rest not in scenarios:
            hint = nearest(rest, [*scenarios])
            raise BadStudyError("--candidate", text, f"no such scenario{hint}")
        return explored(gamma=_GAMMA, floor=_FLOOR, scenario=scenarios[rest], name=text)
    if kind == "explore":
        stated = _numbers(text, rest)
        return explored(gamma=stated.get("gamma", _GAMMA), floor=stated.get("floor", _FLOOR))
    want = "want logged, always:ARM, scenario:NAME or explore:gamma=G,floor=F"
    raise BadStudyError("--candidate", text, want)


def _numbers(text: str, rest: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in rest.split(",") if rest else []:
        name, _, value = part.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise BadStudyError("--candidate", text, f"{value!r} is not a number") from error
        least, most = (0.0, float("inf")) if name == "gamma" else (0.0, 1.0)
        if name not in {"gamma", "floor"} or not least <= found[name] <= most:
            want = "want gamma at least 0 and floor in [0, 1]"
            raise BadStudyError("--candidate", text, want)
    return found


def _utility(estimate: Estimate, scenario: Scenario | None, energy_j: float | None) -> float:
    if scenario is None:
        return estimate.utility
    cost, latency = estimate.cost_usd, estimate.latency_s
    value = scenario.reward(
        quality=estimate.quality,
        cost_usd=scenario.cost_ceiling_usd if cost is None else cost,
        latency_s=scenario.latency_ceiling_s if latency is None else latency,
        energy_j=energy_j,
    )
    return 0.0 if value is None else value
