"""Learning policies replayed on our own log, by rejection sampling.

A log knows only the answer of the arm that was drawn. A decision is kept with probability
``π(a) / (M p)``, p the logged propensity and M the largest ratio there can be; what is kept is as
if the policy itself had run, and is all that it learns from (Li, Chu, Langford and Wang, "Unbiased
offline evaluation of contextual-bandit-based news article recommendation algorithms", WSDM 2011;
for logging that is not uniform: Dudík, Erhan, Langford and Li, "Sample-efficient nonstationary
policy evaluation for contextual bandits", UAI 2012). Unlike a replay of a full-information table it
keeps a fraction of the rows, and has no regret and no oracle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit.policy import Policy
from bandit.utility import Scenario
from feedback.joiner import join
from feedback.reward import to_reward
from simulator.evidence import EvaluationRecord
from simulator.metrics import bootstrap

SOURCE = "decision log: rejection sampling, only the drawn arm's answer is known"


@dataclass(frozen=True, slots=True)
class LogReplay:
    """What a policy came to on the decisions that rejection sampling kept for it."""

    offered: int
    kept: int
    measured: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"offered": self.offered, "kept": self.kept, **self.measured}


def judged_draws(records: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Judged answers of arms that were drawn."""
    return [
        r
        for r in records
        if r.quality is not None and join(r.logged, r.outcome, r.quality) is not None
    ]


def of_one_schema(judged: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Those with the features that most of them have."""
    schemas = [r.logged.decision.context.schema_version for r in judged]
    if not schemas:
        return []
    common = max(sorted(set(schemas)), key=schemas.count)
    return [r for r, schema in zip(judged, schemas, strict=True) if schema == common]


def replay_log(
    records: Sequence[EvaluationRecord],
    policy: Policy,
    *,
    seed: int = 0,
    scenario: Scenario | None = None,
) -> LogReplay:
    """Run ``policy`` over ``records`` (of `usable`), learning from what is kept.

    Parameters
    ----------
    scenario
        What it chooses and is rewarded by; None takes each decision's own.
    """
    rng = np.random.default_rng([seed, 6])
    largest = 1.0 / min((r.logged.decision.propensity for r in records), default=1.0)
    kept: list[tuple[str, float, float, float, float]] = []
    for record in records:
        decision, outcome = record.logged.decision, record.outcome
        wanted = scenario or decision.scenario
        prediction = policy.predict(decision.context, decision.arms, wanted)
        weight = prediction.propensity(decision.arm) / decision.propensity
        if rng.random() * largest >= weight or record.quality is None:
            continue
        reward = to_reward(wanted, quality=record.quality, outcome=outcome)
        cost = reward.cost_usd if reward.cost_usd is not None else np.nan
        latency = reward.latency_s if reward.latency_s is not None else np.nan
        value = reward.value if reward.value is not None else np.nan
        kept.append((decision.arm, record.quality, cost, latency, value))
        lesson = join(record.logged, outcome, record.quality)
        if lesson is not None:
            policy.learn(lesson)
    return LogReplay(len(records), len(kept), _measured(kept))


def _measured(kept: Sequence[tuple[str, float, float, float, float]]) -> dict[str, Any]:
    if not kept:
        return {}
    numbers = np.array([row[1:] for row in kept])
    low, high = bootstrap(numbers[:, 0].tolist())
    arms = [row[0] for row in kept]
    return {
        "quality": float(numbers[:, 0].mean()),
        "quality_low": low,
        "quality_high": high,
        **{
            name: _known_mean(numbers[:, i])
            for i, name in enumerate(("cost_usd", "latency_s", "reward"), start=1)
        },
        "share": {arm: arms.count(arm) / len(arms) for arm in sorted(set(arms))},
    }


def _known_mean(values: Any) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
