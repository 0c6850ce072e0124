"""Why a decision was made, from what the log kept and the policy that made it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bandit.errors import BanditError
from bandit.primitives import Arm, Decision
from feedback.errors import FeedbackError
from feedback.log import DecisionRecord
from feedback.outcome import Feedback
from feedback.reward import combine, latest, to_reward
from serving.bootstrap import Services

MOST_FEATURES = 8

_WORDS = {
    "policy": "It has the best expected utility under this scenario, and the draw agreed.",
    "explore": "Another arm looked better; this one was drawn to keep learning.",
    "mask": "It was the only arm that could answer this query.",
    "pin": "The caller asked for it by name.",
    "privacy": "The query had to stay here.",
    "fallback": "The drawn arm failed, this one stepped in.",
    "baseline": "No policy could be asked, so the configured arm answered.",
}
_FEATURE = re.compile(r"^(?P<namespace>.+)\[(?P<index>\d+)\]\Z")


async def explain(record: DecisionRecord, services: Services) -> dict[str, Any]:
    """Everything that can be said of one decision, as JSON-ready data."""
    decision, logged = record.logged.decision, record.logged
    because, why_not = await _contributions(decision, services)
    quality = combine(record.feedback, services.rules.weights)
    reward = to_reward(decision.scenario, quality=quality, outcome=record.outcome)
    return {
        "decision_id": decision.decision_id,
        "kind": logged.kind,
        "decided_at": decision.decided_at.isoformat(),
        "arm": decision.arm,
        "propensity": decision.propensity,
        "reason": decision.reason,
        "reason_in_words": _WORDS[decision.reason],
        "scenario": asdict(decision.scenario),
        "policy_version": decision.prediction.policy_version,
        "schema_version": decision.context.schema_version,
        "features_ok": decision.context.features_ok,
        "pmf": dict(zip(decision.prediction.arms, decision.prediction.pmf, strict=True)),
        "arms": [_arm(arm, decision, because.get(arm.arm_id)) for arm in decision.arms],
        "masked": dict(decision.masked),
        "explanation_missing": why_not,
        "tags": dict(decision.tags),
        "query_hash": logged.query_hash,
        "prompt": logged.prompt,
        "reference": logged.reference,
        "outcome": _outcome(record),
        "feedback": [_feedback(row, record.feedback) for row in record.feedback],
        "reward": {**asdict(reward), "complete": reward.value is not None},
    }


async def _contributions(
    decision: Decision, services: Services
) -> tuple[Mapping[str, Sequence[Mapping[str, Any]]], str | None]:
    """Arm to the features that moved its expected quality most; or why they cannot be told."""
    version = decision.prediction.policy_version
    try:
        policy = await services.holder.resolve(version)
        weights = policy.explain(decision.context, decision.arms)
    except (BanditError, FeedbackError, LookupError) as error:
        return {}, str(error)
    names = services.featurizer.schema
    known = services.featurizer.schema_version == decision.context.schema_version
    return {
        arm: [
            {"feature": _name(feature, names if known else {}), "adds": round(adds, 6)}
            for feature, adds in sorted(given.items(), key=lambda item: -abs(item[1]))
            if adds
        ][:MOST_FEATURES]
        for arm, given in weights.items()
    }, None


def _name(feature: str, schema: Mapping[str, Sequence[str]]) -> str:
    found = _FEATURE.match(feature)
    if found is None:
        return feature
    names = schema.get(found["namespace"], ())
    index = int(found["index"])
    return f"{found['namespace']}.{names[index]}" if index < len(names) else feature


def _arm(
    arm: Arm, decision: Decision, because: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    prediction = decision.prediction
    place = prediction.arms.index(arm.arm_id) if arm.arm_id in prediction.arms else None
    estimated = place is not None and place < len(prediction.estimates)
    return {
        "arm": arm.arm_id,
        "tier": arm.tier,
        "model": arm.model,
        "probability": prediction.propensity(arm.arm_id),
        "estimate": asdict(prediction.estimates[place or 0]) if estimated else None,
        "because": because or [],
        "price_in": arm.price_in,
        "price_out": arm.price_out,
        "measured": dict(arm.features),
        "parts": list(arm.parts),
    }


def _outcome(record: DecisionRecord) -> dict[str, Any] | None:
    if record.outcome is None:
        return None
    kept = asdict(record.outcome)
    kept["at"] = record.outcome.at.isoformat() if record.outcome.at else None
    return kept


def _feedback(row: Feedback, every: Sequence[Feedback]) -> dict[str, Any]:
    return {
        "feedback_id": row.feedback_id,
        "metric": row.metric,
        "value": row.value,
        "source": row.source,
        "comment": row.comment,
        "tags": dict(row.tags),
        "at": row.at.isoformat() if row.at else None,
        "counts": latest(every)[row.metric, row.source] is row and row.value is not None,
    }
