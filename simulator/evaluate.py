"""Values a candidate from logged decisions: the table behind ``pointsman evaluate``.

Quality, cost and latency are stored raw, so the reward is composed here, under any scenario.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bandit.confseq import lift_sequence, value_sequence
from bandit.ope import estimate_all, preferred, snips
from bandit.primitives import Decision
from bandit.sample import Sample
from bandit.support import support_report
from bandit.utility import Scenario
from feedback.reward import to_reward
from simulator.candidates import Candidate
from simulator.evaluation import EvaluationReport
from simulator.evidence import EvaluationRecord, Gates, Sighting, gates_of, silence
from simulator.logged_features import feature_matrix, n_of_other_features, session_numbers
from simulator.reward_model import Rows, cross_fitted, folds

Floats = NDArray[np.float64]


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


@dataclass(slots=True)
class _Kept:
    """Rows that can be used, column by column, and counts of those that cannot.

    ``sights`` has, for every row, what it shows: arm, reward, and what to divide by; the first is
    what was drawn and served.
    """

    decisions: list[Decision] = field(default_factory=list)
    sights: list[list[tuple[str, float, float]]] = field(default_factory=list)
    target: list[Sequence[float]] = field(default_factory=list)
    n_forced: int = 0
    n_unrewarded: int = 0
    n_diverted: int = 0
    n_unvalued: int = 0
    n_foreign: int = 0
    n_absent: int = 0


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
    gates = gates_of(records)
    kept = _keep(records, candidate, chosen.scenario, gates)
    report = EvaluationReport(
        candidate.name,
        "each decision's own" if chosen.scenario is None else chosen.scenario.name,
        len(kept.decisions),
        kept.n_forced,
        kept.n_unrewarded,
        kept.n_diverted,
        kept.n_unvalued,
        kept.n_foreign,
        chosen.floor or 0.0,
    )
    quiet = silence(records)
    told = () if quiet is None else (quiet,)
    if len(kept.decisions) < 2:
        return replace(report, warnings=("fewer than two decisions can be used", *told))
    report = _valued(report, kept, candidate, chosen, gates)
    return replace(report, warnings=(*told, *report.warnings))


def _keep(
    records: Sequence[EvaluationRecord],
    candidate: Candidate,
    scenario: Scenario | None,
    gates: Gates,
) -> _Kept:
    kept = _Kept()
    for record in records:
        decision = record.logged.decision
        if decision.forced:
            kept.n_forced += 1
            continue
        if record.outcome is not None and record.outcome.arm != decision.arm:
            kept.n_diverted += 1
            continue
        wanted = scenario or decision.scenario
        sights = [
            (seen.arm, value, seen.probability)
            for seen in gates.sightings(record)
            if (value := _value(wanted, record, seen)) is not None
        ]
        if not sights or sights[0][0] != decision.arm:
            kept.n_unrewarded += 1
            continue
        if not candidate.knows(decision):
            kept.n_foreign += 1
            continue
        pmf = candidate.pmf(decision)
        if pmf is None:
            kept.n_unvalued += 1
            continue
        kept.n_absent += candidate.arm is not None and candidate.arm not in decision.prediction.arms
        kept.decisions.append(decision)
        kept.sights.append(sights)
        kept.target.append(pmf)
    return kept


def _value(scenario: Scenario, record: EvaluationRecord, seen: Sighting) -> float | None:
    return to_reward(scenario, quality=record.quality, outcome=seen.outcome).value


def _valued(
    report: EvaluationReport,
    kept: _Kept,
    candidate: Candidate,
    config: EvaluationConfig,
    gates: Gates,
) -> EvaluationReport:
    arms = sorted(
        {arm for d in kept.decisions for arm in d.prediction.arms}
        | {arm for sights in kept.sights for arm, _, _ in sights}
    )
    column = {arm: i for i, arm in enumerate(arms)}
    logged, target = _matrices(kept, column)
    tried = _tried(logged, column, gates)
    session = session_numbers(kept.decisions)
    sample, served, plain = _sample(kept, target, column, session, config)
    floor, warnings = _floor(config.floor, tried, np.maximum(sample.weight, plain))
    support = support_report(target, tried, floor=floor)
    n = len(served)
    if kept.n_absent:
        warnings.append(
            f"{candidate.arm} was not eligible in {kept.n_absent / n:.1%} of the decisions: there"
            " the candidate is taken to do what the log did"
        )
    strange = n_of_other_features(kept.decisions)
    if strange:
        warnings.append(
            f"{strange} of the {n} decisions have features of another version than most, as after a"
            " change of the embedding model: they count, but nothing of their queries is known"
        )
    steps = np.unique(np.geomspace(1, n, config.n_steps).astype(np.int64))
    w_max = 1.0 / floor
    own = Sample(served, np.ones(n), np.ones(n), session=sample.session)
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
        # What is typical of a gate is known at the end only: the sequences look at draws alone.
        value_sequence=value_sequence(plain, served, w_max=w_max, alpha=config.alpha, steps=steps),
        lift_sequence=lift_sequence(plain, served, w_max=w_max, alpha=config.alpha, steps=steps),
        warnings=(*warnings, *support.warnings, *estimates[0].warnings),
    )


def _sample(
    kept: _Kept,
    target: Floats,
    column: Mapping[str, int],
    session: NDArray[np.int64],
    config: EvaluationConfig,
) -> tuple[Sample, Floats, Floats]:
    """The log for one target; the reward of what was served, and weights by draws alone.

    A row that shows two arms is one row: its weights add up, its reward is their weighted mean, so
    that every estimator's sums are those of both.
    """
    row = np.repeat(np.arange(len(kept.sights)), [len(sights) for sights in kept.sights])
    flat = [sight for sights in kept.sights for sight in sights]
    arm = np.array([column[name] for name, _, _ in flat], dtype=np.int64)
    reward, divisor = np.array([sight[1:] for sight in flat]).T
    first = np.flatnonzero(np.diff(row, prepend=-1))
    shown = [kept.decisions[i] for i in row]
    q = _modelled(shown, Rows(np.empty((0, 0)), arm, reward, len(column)), session[row], config)
    weight = target[row, arm] / divisor
    total = np.bincount(row, weight)
    rest = np.where(total > 0.0, total, 1.0)

    def mixed(values: Floats) -> Floats:
        return np.where(total > 0.0, np.bincount(row, weight * values) / rest, values[first])

    propensity = np.array([d.propensity for d in kept.decisions])
    # Weights are what counts; the estimators take them as a ratio of two probabilities.
    seen = np.minimum(1.0, np.array([min(s[2] for s in sights) for sights in kept.sights]))
    sample = Sample(
        np.clip(mixed(reward), 0.0, 1.0),
        propensity,
        np.minimum(1.0, total * seen),
        q_logged=mixed(q[np.arange(len(row)), arm]),
        q_target=(target * q[first]).sum(axis=1),
        observation_probability=seen,
        session=session if len(np.unique(session)) < len(session) else None,
    )
    rows = np.arange(len(first))
    return sample, reward[first], target[rows, arm[first]] / propensity


def _tried(logged: Floats, column: Mapping[str, int], gates: Gates) -> Floats:
    """Probability with which each arm could be seen, shape (n, n_arms), gates included."""
    tried = logged.copy()
    for (cascade, part), typical in gates.typical.items():
        if cascade in column and part in column:
            tried[:, column[part]] += logged[:, column[cascade]] * typical
    return tried


def _matrices(kept: _Kept, column: Mapping[str, int]) -> tuple[Floats, Floats]:
    """Logged and target pmfs, each of shape (n, n_arms), 0 for arms that were not eligible."""
    logged = np.zeros((len(kept.decisions), len(column)))
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
    features = feature_matrix(decisions)
    fold = folds(session, config.n_folds, np.random.default_rng(config.seed))
    return cross_fitted(replace(rows, features=features), fold)


def _floor(stated: float | None, logged: Floats, weight: Floats) -> tuple[float, list[str]]:
    """A floor that every weight respects, and what to say if it is not the stated one."""
    smallest = min(float(logged[logged > 0.0].min()), 1.0 / max(1.0, float(weight.max())))
    if stated is None:
        why = "was read from the log; bounds that hold at any time want it stated beforehand"
        return smallest, [f"the exploration floor ({smallest:.3g}) {why}"]
    if float(weight.max()) * stated > 1.0 + 1e-9:
        return smallest, [
            f"the log has probabilities down to {smallest:.3g}, below the floor of {stated:g}"
        ]
    return stated, []
