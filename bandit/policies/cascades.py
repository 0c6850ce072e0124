"""Cascades as arms: what they are worth, when their gate escalates, what their outcomes teach."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from bandit.gate import VERDICTS
from bandit.pacing import affordable_floor
from bandit.policies.config import PolicyConfig
from bandit.policies.exploration import inverse_gap_weighting
from bandit.policies.gaps import Gaps
from bandit.policies.gatehouse import Assessment, EdgeAnswer, Gatehouse
from bandit.policies.worth import charge_of, clipped, utility_of
from bandit.primitives import Arm, Estimate, Gating, Interaction, Prediction, Reward
from bandit.utility import Scenario

_MOST_WEIGHT = 10.0
"""Largest importance weight of a verdict."""
SHARPER = 10.0
"""An arm that is taught elsewhere is explored as if it were so many times further behind."""


class Cascades:
    """The part of a policy that knows of second stages.

    Parameters
    ----------
    config
        Gamma and floor, for both stages alike.
    saved, blobs
        What `state` and `dump` gave, to continue from.
    """

    def __init__(
        self,
        config: PolicyConfig,
        saved: Mapping[str, Any] | None = None,
        blobs: Mapping[str, bytes] | None = None,
    ) -> None:
        state = saved or {}
        self._config = config
        self._house = Gatehouse(state.get("house"), blobs)
        self._gaps = Gaps(state.get("gaps"))

    # -- choosing -------------------------------------------------------------------------------

    def valued(
        self, found: Mapping[str, Estimate], arms: Sequence[Arm], scenario: Scenario
    ) -> dict[str, Estimate]:
        """``found`` with cascades valued, before anything was asked.

        The parts of a cascade count at the gate's level: otherwise a gate that thinks less of the
        edge would make a cascade that escalates always look better than its own cloud.
        """
        held = dict(found)
        joins = {arm.arm_id: arm.parts for arm in arms if arm.parts and set(arm.parts) <= set(held)}
        for place, by in enumerate(self._house.levels):
            for name in {parts[place] for parts in joins.values()}:
                held[name] = shifted(held[name], by, scenario)
        for name, (edge, cloud) in joins.items():
            held[name] = joined(held[edge], held[cloud], scenario, told=self._house.told)
        return held

    def gate(
        self,
        answer: EdgeAnswer,
        parts: tuple[Estimate, Estimate],
        scenario: Scenario,
        version: str,
    ) -> Prediction:
        """The pmf over `VERDICTS`, from the two arms' estimates and the edge's answer."""
        estimates = verdicts(*parts, self._house.assess(answer), scenario)
        charges = [charge_of(e, scenario) for e in estimates]
        gap = self._gaps.typical(scenario.name)
        pmf = inverse_gap_weighting(
            [e.utility - charge for e, charge in zip(estimates, charges, strict=True)],
            gamma=self._config.gamma / gap,
            floor=affordable_floor(self._config.floor, charges, gap),
        )
        return Prediction(VERDICTS, pmf, version, estimates)

    # -- learning -------------------------------------------------------------------------------

    def note(self, answer: EdgeAnswer) -> None:
        """Count an edge answer, judged or not."""
        self._house.note(answer)

    def votes(
        self, interaction: Interaction, answer: EdgeAnswer | None
    ) -> Sequence[tuple[str, float]]:
        """Learn from a vote; returns what it says of the quality of which arms at this context.

        A plain arm's vote speaks of that arm. One on a cascade speaks of both arms that it joins:
        the gate's own expectation of each, corrected for the one whose answer was judged by what
        the vote leaves over, over the verdict's probability (doubly robust; Dudik, Langford and
        Li, "Doubly robust policy evaluation and learning", 2011). Without that, an edge whose bad
        answers are all escalated would look like a good one. A verdict that was not drawn says
        nothing that could be corrected, so nothing is learned of it.
        """
        decision, gating = interaction.decision, interaction.gating
        quality = interaction.reward.quality
        if quality is None or (decision.chosen.parts and gating is None):
            return ()
        if gating is None or answer is None:
            if answer is not None:
                self._house.learn_edge(answer, quality)
            return ((decision.arm, quality),)
        return () if gating.forced else self._both(answer, gating, interaction)

    def _both(
        self, answer: EdgeAnswer, gating: Gating, interaction: Interaction
    ) -> Sequence[tuple[str, float]]:
        quality = interaction.reward.quality or 0.0
        found = self._house.assess(answer)
        edge, cloud = found.edge, found.cloud
        weight = min(_MOST_WEIGHT, 1.0 / gating.propensity)
        if gating.verdict == "accept":
            self._house.learn_edge(answer, quality)
            edge += weight * (quality - edge)
        else:
            self._house.learn_cloud(answer, quality)
            cloud += weight * (quality - cloud)
        first, second = gating.prediction.estimates
        self._gaps.note(interaction.decision.scenario.name, abs(first.utility - second.utility))
        return ((gating.edge, edge), (gating.cloud, cloud))

    def bills(
        self, interaction: Interaction, answer: EdgeAnswer | None
    ) -> Sequence[tuple[Arm, Reward]]:
        """What an answer teaches of the bill and time of which arms, before anything was seen.

        A cloud that is asked only when the edge's answer looks bad is asked the long questions.
        What the signals of the edge's answer explain of its bill is learned by the gate, and taken
        off before the arm is taught: else it would look dearer than it is.
        """
        found = bills(interaction)
        if answer is None or interaction.gating is None:
            return found
        taught = []
        for arm, bill in found:
            if arm.arm_id == interaction.gating.cloud and bill.cost_usd is not None:
                dearer = self._house.assess(answer).dearer
                self._house.learn_bill(answer, bill.cost_usd)
                taught.append((arm, replace(bill, cost_usd=bill.cost_usd / dearer)))
            else:
                taught.append((arm, bill))
        return taught

    # -- keeping --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All but the regressions, as JSON-ready data."""
        return {"house": self._house.state(), "gaps": self._gaps.state()}

    def dump(self) -> dict[str, bytes]:
        """The regressions."""
        return self._house.dump()


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """The arm whose answer's signals are known, its model's digest, and the cloud beside it.

    ``cloud`` is empty where no arm could have answered instead.
    """

    edge: str
    cloud: str
    digest: str


def taught_elsewhere(values: Sequence[float], arms: Sequence[Arm]) -> list[bool]:
    """Which arms need hardly be drawn to be known, beside the best of ``values``.

    A cascade that is best shows its edge's answer always, and its cloud's whenever the gate
    explores: its parts teach nothing more. Where a plain arm is best, the other is explored as if
    there were no cascade; a cascade is then known by what is learned of its parts.

    Examples
    --------
    >>> edge, cloud = Arm("e", "edge", "m"), Arm("c", "cloud", "m")
    >>> both = Arm("b", "cascade", "m", parts=("e", "c"))
    >>> taught_elsewhere([0.5, 0.25, 0.75], [edge, cloud, both])
    [True, True, False]
    >>> taught_elsewhere([0.5, 0.75, 0.25], [edge, cloud, both])
    [False, False, True]
    """
    best = arms[values.index(max(values))]
    return [arm is not best and (bool(arm.parts) or arm.arm_id in best.parts) for arm in arms]


def judged_pair(interaction: Interaction) -> JudgedPair | None:
    """Whose answer an interaction shows the signals of; None if it shows none."""
    decision, gating = interaction.decision, interaction.gating
    if gating is None and not interaction.signals:
        return None
    arms = {arm.arm_id: arm for arm in decision.arms}
    if gating is not None:
        edge = arms.get(gating.edge)
        return JudgedPair(gating.edge, gating.cloud, "" if edge is None else edge.digest)
    if arms[decision.arm].tier != "edge":
        return None
    joined_to = (arm.parts[1] for arm in decision.arms if arm.parts[:1] == (decision.arm,))
    clouds = (arm.arm_id for arm in decision.arms if arm.tier == "cloud")
    cloud = next(chain(joined_to, clouds), "")
    return JudgedPair(decision.arm, cloud, arms[decision.arm].digest)


def bills(interaction: Interaction) -> Sequence[tuple[Arm, Reward]]:
    """What which arm cost and took: of a cascade, either stage by itself where that is known."""
    decision, gating, whole = interaction.decision, interaction.gating, interaction.reward
    if gating is None:
        chosen = decision.chosen
        return () if chosen.parts else ((chosen, whole),)
    if gating.forced:
        return ()
    arms = {arm.arm_id: arm for arm in decision.arms}
    first = Reward(cost_usd=gating.edge_cost_usd, latency_s=gating.edge_latency_s)
    rest = Reward(
        cost_usd=_rest(whole.cost_usd, first.cost_usd),
        latency_s=_rest(whole.latency_s, first.latency_s),
    )
    pairs = [(gating.edge, first)]
    if gating.verdict == "escalate":
        pairs.append((gating.cloud, rest))
    return [(arms[arm_id], bill) for arm_id, bill in pairs if arm_id in arms]


def _rest(whole: float | None, first: float | None) -> float | None:
    return None if whole is None or first is None else max(0.0, whole - first)


def verdicts(
    edge: Estimate, cloud: Estimate, found: Assessment, scenario: Scenario
) -> tuple[Estimate, Estimate]:
    """Estimates of accepting and of escalating: what would be delivered, both stages together."""
    kept = Estimate(
        clipped(found.edge),
        edge.cost_usd,
        edge.latency_s,
        utility_of(scenario, found.edge, edge.cost_usd, edge.latency_s),
    )
    dearer = None if cloud.cost_usd is None else cloud.cost_usd * found.dearer
    cost_usd, latency_s = _sum(edge.cost_usd, dearer), _sum(edge.latency_s, cloud.latency_s)
    return kept, Estimate(
        clipped(found.cloud),
        cost_usd,
        latency_s,
        utility_of(scenario, found.cloud, cost_usd, latency_s),
    )


def joined(
    edge: Estimate,
    cloud: Estimate,
    scenario: Scenario,
    *,
    told: float,
) -> Estimate:
    """What a cascade is worth: its edge, and the right to ask the cloud once the answer is seen.

    With ``d`` the advantage of escalating before the answer is seen and ``s`` the deviation of what
    its signals add, normal, the gate escalates with probability ``Phi(d / s)`` and gains
    ``E[max(0, d + s Z)] = s phi(d / s) + d Phi(d / s)`` (the value of information; Howard,
    "Information value theory", 1966). Exploring is left out: it costs as much beside a plain arm.

    Parameters
    ----------
    edge, cloud
        The two arms by themselves, before anything was asked.
    told
        ``s`` in quality, above 0.
    """
    both = _both(edge, cloud, scenario)
    slope = _slope(scenario)
    gross = both.utility - edge.utility
    d = gross - (charge_of(both, scenario) - charge_of(edge, scenario))
    z = d / max(1e-9, told * (slope + scenario.quality_price))
    share = 0.5 * math.erfc(-z / math.sqrt(2.0))
    gained = told * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    quality = _mix(share, edge.quality, both.quality)
    return Estimate(
        None if quality is None else clipped(quality + gained),
        _mix(share, edge.cost_usd, both.cost_usd),
        _mix(share, edge.latency_s, both.latency_s),
        edge.utility + share * gross + gained * slope,
    )


def shifted(estimate: Estimate, by: float, scenario: Scenario) -> Estimate:
    """An estimate with its quality moved."""
    quality = None if estimate.quality is None else clipped(estimate.quality + by)
    return replace(estimate, quality=quality, utility=estimate.utility + by * _slope(scenario))


def _slope(scenario: Scenario) -> float:
    return scenario.w_quality / (scenario.mes or 1.0)


def _both(edge: Estimate, cloud: Estimate, scenario: Scenario) -> Estimate:
    """The cloud's answer at the price and after the time of both."""
    cost_usd, latency_s = _sum(edge.cost_usd, cloud.cost_usd), _sum(edge.latency_s, cloud.latency_s)
    dearer = utility_of(scenario, 0.0, cost_usd, latency_s) - utility_of(
        scenario, 0.0, cloud.cost_usd, cloud.latency_s
    )
    return Estimate(cloud.quality, cost_usd, latency_s, cloud.utility + dearer)


def _mix(share: float, first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + share * (second - first)


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
