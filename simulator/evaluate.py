"""Values a candidate from logged decisions: the table behind ``pointsman evaluate``.

Quality, cost and latency are stored raw, so the reward is composed here, under any scenario.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.confseq import ConfidenceSequence, lift_sequence, value_sequence
from bandit.ope import ValueEstimate, estimate_all, preferred, snips
from bandit.primitives import Decision
from bandit.sample import Sample
from bandit.support import support_report
from bandit.utility import Scenario
from feedback.log import LogEvent, LoggedDecision
from feedback.outcome import Outcome
from feedback.reward import METRIC_WEIGHTS, combine, to_reward
from simulator.candidates import Candidate
from simulator.reward_model import Rows, cross_fitted, folds

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """A decision with what became of it; at most one record a decision.

    Attributes
    ----------
    quality
        Judged quality in [0, 1], or None.
    arm
        Whose outcome this is, if not the drawn arm's: a cascade shows the edge's answer too.
    observation_probability
        With which that outcome could be seen (`bandit.support.outcome_observation`), where it is
        not the propensity of the arm drawn.
    """

    logged: LoggedDecision
    outcome: Outcome | None
    quality: float | None = None
    arm: str | None = None
    observation_probability: float | None = None


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """How to evaluate.

    Attributes
    ----------
    scenario
        Composes the reward; None takes each decision's own.
    floor
        The exploration floor that the log was written with, for bounds that hold at any time; None
        reads the smallest logged probability instead, which weakens the guarantee.
    n_folds
        Of the reward model, 2 to 20.
    n_steps
        Points of the anytime-valid sequences.
    """

    scenario: Scenario | None = None
    alpha: float = 0.05
    floor: float | None = None
    n_folds: int = 5
    n_steps: int = 100
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What the log says of a candidate.

    Attributes
    ----------
    n, n_forced, n_unrewarded, n_unvalued
        Decisions used, and those left out: the arm was imposed; the reward is not known (nobody
        judged it, or it failed); the candidate could not say what it would do.
    logged
        The logging policy's own mean reward on the same rows.
    estimates
        The candidate's value by every method; ``headline`` names the one to read first.
    unsupported, below_floor
        Shares of the candidate's choices that the log never, or hardly, tried.
    value_sequence, lift_sequence
        Bounds, over the growing log, on its value and on its advantage over the logging policy.
    """

    candidate: str
    scenario: str
    n: int
    n_forced: int
    n_unrewarded: int
    n_unvalued: int
    floor: float
    logged: ValueEstimate | None = None
    estimates: tuple[ValueEstimate, ...] = ()
    headline: str | None = None
    unsupported: float = 0.0
    below_floor: float = 0.0
    value_sequence: ConfidenceSequence | None = None
    lift_sequence: ConfidenceSequence | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "candidate": self.candidate,
            "scenario": self.scenario,
            "n": self.n,
            "left_out": {
                "forced": self.n_forced,
                "unrewarded": self.n_unrewarded,
                "unvalued": self.n_unvalued,
            },
            "floor": self.floor,
            "logged": None if self.logged is None else self.logged.to_dict(),
            "estimates": [estimate.to_dict() for estimate in self.estimates],
            "headline": self.headline,
            "support": {"unsupported": self.unsupported, "below_floor": self.below_floor},
            "anytime": {
                "value": _points(self.value_sequence),
                "lift": _points(self.lift_sequence),
            },
            "warnings": list(self.warnings),
        }


@dataclass(slots=True)
class _Kept:
    """Rows that can be used, column by column, and counts of those that cannot."""

    decisions: list[Decision] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    target: list[Sequence[float]] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    n_forced: int = 0
    n_unrewarded: int = 0
    n_unvalued: int = 0
    n_absent: int = 0


def records_from(
    events: Iterable[LogEvent], *, weights: Mapping[str, float] = METRIC_WEIGHTS
) -> list[EvaluationRecord]:
    """One record a decision, in the order of their first events, with all that is known by now."""
    latest: dict[str, LogEvent] = {}
    for event in events:
        decision_id = event.logged.decision.decision_id
        known = latest.get(decision_id)
        if known is None or event.position >= known.position:
            latest[decision_id] = event
    return [
        EvaluationRecord(
            event.logged, event.outcome, combine((row for _, row in event.feedback), weights)
        )
        for event in latest.values()
    ]


def evaluate(
    records: Sequence[EvaluationRecord],
    candidate: Candidate,
    *,
    config: EvaluationConfig | None = None,
) -> EvaluationReport:
    """The candidate's value per decision, by every estimator, with intervals and warnings.

    ``records`` are in the order of the log; the sequences depend on it.
    """
    chosen = config or EvaluationConfig()
    kept = _keep(records, candidate, chosen.scenario)
    report = EvaluationReport(
        candidate.name,
        "each decision's own" if chosen.scenario is None else chosen.scenario.name,
        len(kept.reward),
        kept.n_forced,
        kept.n_unrewarded,
        kept.n_unvalued,
        chosen.floor or 0.0,
    )
    if len(kept.reward) < 2:
        return replace(report, warnings=("fewer than two decisions can be used",))
    return _valued(report, kept, candidate, chosen)


def _keep(
    records: Sequence[EvaluationRecord], candidate: Candidate, scenario: Scenario | None
) -> _Kept:
    kept = _Kept()
    for record in records:
        decision = record.logged.decision
        if decision.forced:
            kept.n_forced += 1
            continue
        wanted = scenario or decision.scenario
        value = to_reward(wanted, quality=record.quality, outcome=record.outcome).value
        if value is None:
            kept.n_unrewarded += 1
            continue
        pmf = candidate.pmf(decision)
        if pmf is None:
            kept.n_unvalued += 1
            continue
        kept.n_absent += candidate.arm is not None and candidate.arm not in decision.prediction.arms
        kept.decisions.append(decision)
        kept.arms.append(record.arm or decision.arm)
        kept.reward.append(value)
        kept.target.append(pmf)
        kept.seen.append(record.observation_probability or decision.propensity)
    return kept


def _valued(
    report: EvaluationReport, kept: _Kept, candidate: Candidate, config: EvaluationConfig
) -> EvaluationReport:
    arms = sorted({arm for d in kept.decisions for arm in d.prediction.arms} | set(kept.arms))
    column = {arm: i for i, arm in enumerate(arms)}
    rows = np.arange(len(kept.reward))
    arm = np.array([column[name] for name in kept.arms], dtype=np.int64)
    logged, target = _matrices(kept, column)
    reward, seen = np.array(kept.reward), np.array(kept.seen)
    session = _sessions(kept.decisions)
    q = _modelled(kept.decisions, Rows(np.empty((0, 0)), arm, reward, len(arms)), session, config)
    sample = Sample(
        reward,
        np.array([d.propensity for d in kept.decisions]),
        target[rows, arm],
        q_logged=q[rows, arm],
        q_target=(target * q).sum(axis=1),
        observation_probability=seen,
        session=session if len(np.unique(session)) < len(session) else None,
    )
    logged[rows, arm] = seen
    floor, warnings = _floor(config.floor, logged, sample.weight)
    support = support_report(target, logged, floor=floor)
    if kept.n_absent:
        share = kept.n_absent / len(rows)
        warnings.append(
            f"{candidate.arm} was not eligible in {share:.1%} of the decisions: there the candidate"
            " is taken to do what the log did"
        )
    steps = np.unique(np.geomspace(1, len(rows), config.n_steps).astype(np.int64))
    w_max = 1.0 / floor
    own = Sample(reward, np.ones(len(rows)), np.ones(len(rows)), session=sample.session)
    estimates = estimate_all(sample, w_max=w_max, alpha=config.alpha)
    first = preferred(estimates)
    return replace(
        report,
        floor=floor,
        logged=replace(snips(own, alpha=config.alpha), method="mean"),
        estimates=estimates,
        headline=None if first is None else first.method,
        unsupported=support.unsupported,
        below_floor=support.below_floor,
        value_sequence=value_sequence(
            sample.weight, reward, w_max=w_max, alpha=config.alpha, steps=steps
        ),
        lift_sequence=lift_sequence(
            sample.weight, reward, w_max=w_max, alpha=config.alpha, steps=steps
        ),
        warnings=(*warnings, *support.warnings, *estimates[0].warnings),
    )


def _matrices(kept: _Kept, column: Mapping[str, int]) -> tuple[Floats, Floats]:
    """Logged and target pmfs, each of shape (n, n_arms), 0 for arms that were not eligible."""
    logged = np.zeros((len(kept.reward), len(column)))
    target = np.zeros_like(logged)
    alike: dict[tuple[str, ...], list[int]] = {}
    for i, decision in enumerate(kept.decisions):
        alike.setdefault(decision.prediction.arms, []).append(i)
    for arms, rows in alike.items():
        cells = np.ix_(rows, [column[arm] for arm in arms])
        logged[cells] = [kept.decisions[i].prediction.pmf for i in rows]
        target[cells] = [kept.target[i] for i in rows]
    return logged, target


def _modelled(
    decisions: Sequence[Decision], rows: Rows, session: NDArray[np.int64], config: EvaluationConfig
) -> Floats:
    features = _features(decisions)
    fold = folds(session, config.n_folds, np.random.default_rng(config.seed))
    return cross_fitted(replace(rows, features=features), fold)


def _features(decisions: Sequence[Decision]) -> Floats:
    """Contexts in a row each, shape (n, d); zeros where the features were of another schema."""
    versions = Counter(d.context.schema_version for d in decisions if d.context.features_ok)
    usual = versions.most_common(1)[0][0] if versions else ""
    flat = [
        np.concatenate([np.ravel(part) for part in d.context.namespaces.values()])
        if d.context.schema_version == usual and d.context.features_ok and d.context.namespaces
        else np.empty(0)
        for d in decisions
    ]
    features = np.zeros((len(flat), max(len(row) for row in flat)))
    for i, row in enumerate(flat):
        features[i, : len(row)] = row
    return features


def _sessions(decisions: Sequence[Decision]) -> NDArray[np.int64]:
    """Group of every decision: its session if it has one, else itself."""
    names = [str(d.tags.get("session_id") or f"\x00{d.decision_id}") for d in decisions]
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)


def _floor(stated: float | None, logged: Floats, weight: Floats) -> tuple[float, list[str]]:
    """A floor that every weight respects, and what to say if it is not the stated one."""
    smallest = float(logged[logged > 0.0].min())
    if stated is None:
        why = "was read from the log; bounds that hold at any time want it stated beforehand"
        return smallest, [f"the exploration floor ({smallest:.3g}) {why}"]
    if float(weight.max()) * stated > 1.0 + 1e-9:
        return smallest, [
            f"the log has probabilities down to {smallest:.3g}, below the floor of {stated:g}"
        ]
    return stated, []


def _points(sequence: ConfidenceSequence | None) -> dict[str, Any] | None:
    if sequence is None:
        return None
    return {
        "alpha": sequence.alpha,
        "steps": sequence.steps.tolist(),
        "value": sequence.value.tolist(),
        "low": sequence.low.tolist(),
        "high": sequence.high.tolist(),
    }
