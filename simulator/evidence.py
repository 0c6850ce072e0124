"""What every logged decision shows of every arm, and what to divide by because it might not have.

A decision shows the arm that was drawn. A cascade shows more: the answer that its gate delivered is
an answer of one of its parts, judged like any other. So an arm ``a`` can be seen by drawing it or
through every cascade ``k`` that it is part of, and

    ``P_a = p(a) + Σ_k p(k) t(k, a)``

is how often it is, ``t(k, a)`` being the mean probability with which k's gate delivers its answer.
A row of the arm itself counts with ``1 / P_a``; one that a gate let through with probability g, for
what it saw of the edge's answer, with ``t / (P_a g)``. Where g is always the same both are
``1 / (p(a) + p(k) g)`` (`bandit.support.outcome_observation`); where it is not, that denominator
cannot be had for a cloud that was asked at once, and these still add up to an unbiased estimate.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit.gate import VERDICTS
from bandit.primitives import Decision, Gating
from bandit.support import gated_observation
from feedback.log import LogEvent, LoggedDecision
from feedback.outcome import Outcome
from feedback.reward import METRIC_WEIGHTS, combine


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """A decision with what became of it; at most one record a decision.

    Attributes
    ----------
    quality
        Judged quality in [0, 1], or None.
    """

    logged: LoggedDecision
    outcome: Outcome | None
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """An answer of ``arm`` that a decision showed, with what it alone cost and took.

    ``probability`` divides: the row stands for ``π(arm) / probability`` rows of a policy π. It is
    the chance of the sighting, times a factor for gates that vary, so it may exceed 1.
    """

    arm: str
    probability: float
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Gates:
    """How often each cascade's gate delivers each part's answer, from the log itself.

    Attributes
    ----------
    typical
        By (cascade, part): the mean probability of being delivered.
    usable
        By (cascade, part): the share of draws in which it could have been delivered at all.
    """

    typical: Mapping[tuple[str, str], float]
    usable: Mapping[tuple[str, str], float]

    def observed(self, decision: Decision, arm: str) -> float:
        """``P_a``: the probability that the decision shows ``arm``, drawn or through a gate."""
        return decision.prediction.propensity(arm) + sum(
            p * self.typical.get((cascade, arm), 0.0)
            for cascade, p in zip(decision.prediction.arms, decision.prediction.pmf, strict=True)
        )

    def sightings(self, record: EvaluationRecord) -> Iterator[Sighting]:
        """What the record shows: the arm drawn first, then the part that a gate delivered."""
        decision, outcome = record.logged.decision, record.outcome
        gating = None if outcome is None else outcome.gating
        if outcome is None or gating is None:
            through = self.observed(decision, decision.arm) - decision.propensity
            direct, _ = gated_observation(decision.propensity, through)
            yield Sighting(decision.arm, direct, outcome)
            return
        yield Sighting(decision.arm, decision.propensity, outcome)
        part = delivered(gating)
        key = (decision.arm, part)
        if self.typical.get(key, 0.0) > 0.0:
            own = decision.prediction.propensity(part)
            through = self.observed(decision, part) - own
            passed = gating.propensity * self.usable[key]
            _, gated = gated_observation(own, through, passed=passed, typical=self.typical[key])
            yield Sighting(part, gated, _part_alone(outcome, gating))


def delivered(gating: Gating) -> str:
    """The arm whose answer a cascade delivered."""
    return gating.edge if gating.verdict == "accept" else gating.cloud


def gates_of(records: Iterable[EvaluationRecord]) -> Gates:
    """The gates of a log; a cascade whose gate never spoke has none."""
    passed: dict[tuple[str, str], list[float]] = {}
    able: dict[tuple[str, str], list[bool]] = {}
    for record in records:
        decision, outcome = record.logged.decision, record.outcome
        if decision.forced or outcome is None or outcome.gating is None:
            continue
        gating = outcome.gating
        for part, verdict in zip((gating.edge, gating.cloud), VERDICTS, strict=True):
            chance = gating.prediction.propensity(verdict)
            if gating.forced:
                chance = float(gating.verdict == verdict)
            key = (decision.arm, part)
            passed.setdefault(key, []).append(chance)
            # An edge that failed has no answer anywhere; a cloud that was not asked has one.
            able.setdefault(key, []).append(chance > 0.0 or verdict == "accept")
    return Gates(
        {key: float(np.mean(chances)) for key, chances in passed.items()},
        {key: float(np.mean(flags)) for key, flags in able.items()},
    )


def records_from(
    events: Iterable[LogEvent], *, weights: Mapping[str, float] = METRIC_WEIGHTS
) -> list[EvaluationRecord]:
    """One record a decision, in the order of their first events, with all that is known by now."""
    return [
        EvaluationRecord(
            event.logged, event.outcome, combine((row for _, row in event.feedback), weights)
        )
        for event in latest_events(events)
    ]


def latest_events(events: Iterable[LogEvent]) -> list[LogEvent]:
    """The last event of every decision, in the order of their first ones."""
    latest: dict[str, LogEvent] = {}
    for event in events:
        decision_id = event.logged.decision.decision_id
        known = latest.get(decision_id)
        if known is None or event.position >= known.position:
            latest[decision_id] = event
    return list(latest.values())


def arms_of(records: Iterable[EvaluationRecord]) -> set[str]:
    """Every arm that was ever a choice."""
    return {arm for record in records for arm in record.logged.decision.prediction.arms}


def silence(records: Sequence[EvaluationRecord]) -> str | None:
    """What the unjudged among drawn and answered decisions give reason to doubt, or None."""
    drawn = [
        r
        for r in records
        if not r.logged.decision.forced and (r.outcome is None or r.outcome.failure is None)
    ]
    silent = sum(r.quality is None for r in drawn)
    if not silent:
        return None
    by_arm: dict[str, list[bool]] = {}
    for r in drawn:
        by_arm.setdefault(r.logged.decision.arm, []).append(r.quality is not None)
    shares = {arm: float(np.mean(judged)) for arm, judged in sorted(by_arm.items())}
    listed = ", ".join(f"{arm} {share:.1%}" for arm, share in shares.items())
    return (
        f"{silent / len(drawn):.1%} of the answered decisions have no judgement (judged: {listed})"
        " and are left out; votes are not missing at random, so what is said of quality holds for"
        " queries like those that somebody judged"
    )


def _part_alone(outcome: Outcome, gating: Gating) -> Outcome:
    """The outcome that the delivered part would have had by itself."""
    if gating.verdict == "accept":
        cost, latency = gating.edge_cost_usd, gating.edge_latency_s
        return replace(
            outcome,
            arm=gating.edge,
            cost_usd=outcome.cost_usd if cost is None else cost,
            latency_s=outcome.latency_s if latency is None else latency,
        )
    return replace(
        outcome,
        arm=gating.cloud,
        cost_usd=_less(outcome.cost_usd, gating.edge_cost_usd),
        latency_s=_less(outcome.latency_s, gating.edge_latency_s),
    )


def _less(total: float | None, part: float | None) -> float | None:
    return None if total is None or part is None else max(0.0, total - part)
