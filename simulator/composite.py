"""What a candidate would have been under any scenario, part by part, from logged decisions.

The parts are those of "ECVL-ROUTER" (Tsinghua and Goertek, 2025, arXiv 2510.27256): the share of
solved problems, the share kept at the edge, the mean latency, and a score that combines them
(`simulator.metrics.rcs` has the same definition of it, for runs whose truth is known). All but the
share at the edge, which is exact, are self-normalised estimates.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.primitives import Decision
from bandit.utility import Scenario
from feedback.reward import to_reward
from simulator.candidates import Candidate, Pmf
from simulator.evidence import EvaluationRecord, Gates, gates_of
from simulator.metrics import PROBLEM_SOLVED

Floats = NDArray[np.float64]
_RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Composite:
    """A candidate under a scenario; None where nothing in the log says it.

    Attributes
    ----------
    n
        Judged answers that it rests on.
    solved
        Problem-solving probability: the share of answers at or above the scenario's MES, of .5
        where it has none.
    at_edge
        Share of decisions that the candidate leaves to the edge.
    saved
        Cost advantage: the part of the bill of the cloud alone that is not spent.
    rcs, rcs_low, rcs_high
        ``w_q solved + w_c at_edge + w_l (1 - latency)``, latency between that of the edge alone (0)
        and of the cloud alone (1); with 95 % bounds, resampled by session.
    """

    scenario: str
    n: int
    reward: float | None
    solved: float | None
    at_edge: float | None
    saved: float | None
    latency_s: float | None
    rcs: float | None
    rcs_low: float | None
    rcs_high: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer that the log shows, and how much of each policy it stands for."""

    session: str
    weights: tuple[float, float, float]
    solved: float
    reward: float | None
    cost_usd: float | None
    latency_s: float | None
    kept: float


def composites(
    records: Sequence[EvaluationRecord], candidate: Candidate, scenarios: Sequence[Scenario]
) -> list[Composite]:
    """The candidate under every scenario; the log need not have known them."""
    gates = gates_of(records)
    found = []
    for scenario in scenarios:
        answers = [a for record in records for a in _answers(record, candidate, scenario, gates)]
        found.append(_composite(answers, scenario))
    return found


def _answers(
    record: EvaluationRecord, candidate: Candidate, scenario: Scenario, gates: Gates
) -> list[_Answer]:
    decision, outcome = record.logged.decision, record.outcome
    if decision.forced or record.quality is None or outcome is None or outcome.failure:
        return []
    pmf = candidate.pmf(decision)
    if pmf is None:
        return []
    policies = (pmf, _tier(decision, "edge"), _tier(decision, "cloud"))
    session = str(decision.tags.get("session_id") or f"\x00{decision.decision_id}")
    kept = sum(p for p, tier in zip(pmf, _tiers(decision), strict=True) if tier == "edge")
    answers = []
    for seen in gates.sightings(record):
        if seen.outcome is None or seen.arm not in decision.prediction.arms:
            continue
        at = decision.prediction.arms.index(seen.arm)
        weights = tuple(policy[at] / seen.probability for policy in policies)
        value = to_reward(scenario, quality=record.quality, outcome=seen.outcome).value
        answers.append(
            _Answer(
                session,
                (weights[0], weights[1], weights[2]),
                float(record.quality >= (scenario.mes or PROBLEM_SOLVED) - 1e-6),
                value,
                seen.outcome.cost_usd,
                seen.outcome.latency_s,
                kept,
            )
        )
        kept = float("nan")  # a decision counts once, however many answers it shows
    return answers


def _tiers(decision: Decision) -> list[str]:
    known = {arm.arm_id: arm.tier for arm in decision.arms}
    return [known[arm] for arm in decision.prediction.arms]


def _tier(decision: Decision, tier: str) -> Pmf:
    """The logged pmf within one tier; as logged where no arm of it was eligible."""
    logged = decision.prediction.pmf
    inside = [p if own == tier else 0.0 for p, own in zip(logged, _tiers(decision), strict=True)]
    total = sum(inside)
    return tuple(p / total for p in inside) if total > 0.0 else logged


def _composite(answers: Sequence[_Answer], scenario: Scenario) -> Composite:
    n = len({answer.session for answer in answers})
    if not answers:
        return Composite(scenario.name, 0, *[None] * 8)
    sums = _by_session(answers)
    found = _scores(sums.sum(axis=0), scenario)
    rng = np.random.default_rng(0)
    drawn = [
        _scores(rng.multinomial(n, np.full(n, 1.0 / n)) @ sums, scenario)["rcs"]
        for _ in range(_RESAMPLES if n > 1 else 0)
    ]
    bounds = np.quantile(drawn, (0.025, 0.975)) if drawn else np.full(2, np.nan)
    known = {name: _known(value) for name, value in found.items()}
    return Composite(
        scenario.name,
        len(answers),
        **known,
        rcs_low=_known(float(bounds[0])),
        rcs_high=_known(float(bounds[1])),
    )


def _by_session(answers: Sequence[_Answer]) -> Floats:
    """Sums that every score is made of, shape (n_sessions, 16): value and weight in turn."""
    session = np.unique([answer.session for answer in answers], return_inverse=True)[1]
    w = np.array([answer.weights for answer in answers]).T
    columns = {
        name: np.array([getattr(answer, name) for answer in answers], dtype=np.float64)
        for name in ("reward", "solved", "cost_usd", "latency_s", "kept")
    }
    pairs = (
        (columns["reward"], w[0]),
        (columns["solved"], w[0]),
        (columns["kept"], np.ones(len(answers))),
        (columns["cost_usd"], w[0]),
        (columns["cost_usd"], w[2]),
        (columns["latency_s"], w[0]),
        (columns["latency_s"], w[1]),
        (columns["latency_s"], w[2]),
    )
    sums = np.zeros((int(session.max()) + 1, 2 * len(pairs)))
    for i, (value, weight) in enumerate(pairs):
        known = np.isfinite(value)
        np.add.at(sums[:, 2 * i], session[known], (value * weight)[known])
        np.add.at(sums[:, 2 * i + 1], session[known], weight[known])
    return sums


def _scores(sums: Floats, scenario: Scenario) -> dict[str, float]:
    with np.errstate(invalid="ignore", divide="ignore"):
        reward, solved, kept, cost, cloud_cost, latency, edge_s, cloud_s = sums[::2] / sums[1::2]
        saved = 1.0 - cost / cloud_cost
    low, high = min(edge_s, cloud_s), max(edge_s, cloud_s)
    slow = 0.0 if not high > low else float(np.clip((latency - low) / (high - low), 0.0, 1.0))
    return {
        "reward": float(reward),
        "solved": float(solved),
        "at_edge": float(kept),
        "saved": float(saved),
        "latency_s": float(latency),
        "rcs": float(
            scenario.w_quality * solved + scenario.w_cost * kept + scenario.w_latency * (1.0 - slow)
        ),
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
