"""Rows of the decision log's tables, from and to the values they hold. No SQL here."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from bandit.alarm import Alarm
from bandit.packing import (
    arm_from_dict,
    arm_to_dict,
    gating_from_dict,
    gating_to_dict,
    pack_context,
    prediction_from_dict,
    prediction_to_dict,
    scenario_from_dict,
    scenario_to_dict,
    unpack_context,
)
from bandit.primitives import Decision
from feedback.alarms import LoggedAlarm
from feedback.log import LoggedDecision, Snapshot
from feedback.outcome import Feedback, Outcome

Row: TypeAlias = Mapping[Any, Any]
"""A row as the driver gives it: column name to value."""

_REPLACEMENT = "\ufffd"
_UNSTORABLE = dict.fromkeys([0, *range(0xD800, 0xE000)], _REPLACEMENT)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(f"{type(value).__name__} cannot be stored")


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)


def clean(text: str | None) -> str | None:
    """Free text as Postgres can hold it: NUL and lone surrogates become U+FFFD."""
    if text is None or (text.isascii() and "\x00" not in text):
        return text
    return text.translate(_UNSTORABLE)


def dumps(data: object) -> str:
    """JSON that ``jsonb`` takes; NaN and infinities are refused, floats keep every digit."""
    text = _encoder.encode(data)
    if "\\u0000" in text or not _encodes(text):
        text = _encoder.encode(_clean_all(data))
    return text


def rows_json(rows: Sequence[Row]) -> str:
    """Rows as one JSON text, as `feedback.sql_text` takes them; bytes are hexadecimal digits."""
    return dumps(rows)


def decision_row(logged: LoggedDecision) -> dict[str, Any]:
    """One row of ``decisions``."""
    decision = logged.decision
    return {
        "decision_id": decision.decision_id,
        "kind": logged.kind,
        "key_id": logged.key_id,
        "decided_at": decision.decided_at,
        "arm": decision.arm,
        "propensity": decision.propensity,
        "reason": decision.reason,
        "policy_version": decision.prediction.policy_version,
        "scenario": scenario_to_dict(decision.scenario),
        "arms": [arm_to_dict(arm) for arm in decision.arms],
        "prediction": prediction_to_dict(decision.prediction),
        "masked": dict(decision.masked),
        "tags": dict(decision.tags),
        "context": pack_context(decision.context),
        "schema_version": decision.context.schema_version,
        "features_ok": decision.context.features_ok,
        "query_hash": logged.query_hash,
        "prompt": clean(logged.prompt),
        "reference": clean(logged.reference),
    }


def logged_decision(row: Row) -> LoggedDecision:
    """The decision that `decision_row` wrote."""
    decision = Decision(
        decision_id=row["decision_id"],
        context=unpack_context(bytes(row["context"])),
        arms=tuple(arm_from_dict(arm) for arm in row["arms"]),
        scenario=scenario_from_dict(row["scenario"]),
        prediction=prediction_from_dict(row["prediction"]),
        arm=row["arm"],
        propensity=row["propensity"],
        reason=row["reason"],
        decided_at=row["decided_at"],
        masked=row["masked"],
        tags=row["tags"],
    )
    names = ("kind", "key_id", "query_hash", "prompt", "reference")
    return LoggedDecision(decision, *(row[name] for name in names))


def outcome_row(outcome: Outcome, *, position: int, now: datetime) -> dict[str, Any]:
    """One row of ``outcomes``."""
    row = {name: getattr(outcome, name) for name in Outcome.__slots__}
    row["confidence"] = dict(outcome.confidence)
    row["answer"] = clean(outcome.answer)
    row["finish_reason"] = clean(outcome.finish_reason)
    row["failure"] = clean(outcome.failure)
    row["at"] = outcome.at or now
    row["position"] = position
    row["gating"] = None if outcome.gating is None else gating_to_dict(outcome.gating)
    return row


def outcome_from(row: Row) -> Outcome:
    """The outcome that `outcome_row` wrote."""
    values = {name: row[name] for name in Outcome.__slots__}
    if row["gating"] is not None:
        values["gating"] = gating_from_dict(row["gating"])
    return Outcome(**values)


def feedback_row(
    feedback: Feedback, *, position: int, now: datetime, key_id: str, reason: str | None
) -> dict[str, Any]:
    """One row of ``feedback``."""
    row = {name: getattr(feedback, name) for name in Feedback.__slots__}
    row["tags"] = dict(feedback.tags)
    row["comment"] = clean(feedback.comment)
    row["at"] = feedback.at or now
    row["position"] = position
    row["key_id"] = key_id
    row["will_apply"] = reason is None
    row["reason"] = reason
    return row


def feedback_from(row: Row) -> Feedback:
    """The feedback that `feedback_row` wrote."""
    return Feedback(**{name: row[name] for name in Feedback.__slots__})


def snapshot_from(row: Row) -> Snapshot:
    """A row of ``snapshots`` as a value."""
    return Snapshot(
        row["version"], row["position"], row["manifest"], bytes(row["blob"]), row["created_at"]
    )


def alarm_row(alarm: Alarm, *, position: int, now: datetime, tell: bool) -> dict[str, Any]:
    """One row of ``alarms``; a quantity that is not finite is none."""
    return {
        **{name: getattr(alarm, name) for name in Alarm.__slots__},
        "before": _finite(alarm.before),
        "after": _finite(alarm.after),
        "position": position,
        "noticed_at": now,
        "delivery": "pending" if tell else "none",
        "attempts": 0,
        "next_attempt_at": now,
    }


def alarm_from(row: Row) -> LoggedAlarm:
    """A row of ``alarms`` as a value."""
    names = (name for name in LoggedAlarm.__slots__ if name != "alarm")
    alarm = Alarm(**{name: row[name] for name in Alarm.__slots__})
    return LoggedAlarm(alarm=alarm, **{name: row[name] for name in names})


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def same_outcome(old: Outcome, new: Outcome) -> bool:
    """Whether ``new`` says what ``old`` said, whenever it says so."""
    names = (name for name in Outcome.__slots__ if name != "at")
    return all(getattr(old, name) == getattr(new, name) for name in names)


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _clean_all(data: object) -> object:
    if isinstance(data, str):
        return clean(data)
    if isinstance(data, Mapping):
        return {clean(str(name)): _clean_all(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_clean_all(value) for value in data]
    return data
