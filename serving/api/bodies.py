"""The bodies of feedback and outcome requests: every field checked by hand, nothing coerced.

Each problem names its field and what it may be; a misspelt field is refused with the nearest name.
"""

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from feedback.errors import BadFeedbackError, UnknownDecisionError
from feedback.outcome import CostSource, Feedback, Outcome
from feedback.reward import COMMENT, check_metric, normalise
from serving.energy import EnergyRate
from serving.pricing import Price

MAX_COMMENT_BYTES = 4096
MAX_BATCH = 1000

_ID = re.compile(r"^(?:chatcmpl-)?(?:dec_)?([0-9a-f]{32})\Z")
_SOURCE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,63}\Z")
_WORDS: Mapping[Any, float] = {"up": 1.0, "down": 0.0}
_BINARY = frozenset({"thumbs", "task_success"})
_ALIASES = {"metric_name": "metric", "inference_id": "decision_id", "id": "decision_id",
            "response_id": "decision_id"}  # fmt: skip
_FEEDBACK = ("decision_id", "metric", "value", "source", "comment", "tags", "occurred_at")
_OUTCOME = ("arm", "model", "latency_s", "ttft_s", "cost_usd", "tokens_in", "tokens_out",
            "finish_reason", "failure", "answer", "energy_j", "occurred_at")  # fmt: skip
_MEASURES = ("latency_s", "ttft_s", "cost_usd", "energy_j")
_FAILURES = ("unavailable", "timeout", "cancelled", "error", "overload")
_MOST = 1e9


def decision_id(given: Any) -> str:
    """The id of the decision that ``given`` names: its own id, or that of the chat response.

    Raises
    ------
    UnknownDecisionError
        If it has another shape; such an id was never issued.
    BadFeedbackError
        If it is not text at all.

    Examples
    --------
    >>> decision_id("chatcmpl-0123456789abcdef0123456789abcdef")
    'dec_0123456789abcdef0123456789abcdef'
    """
    if not isinstance(given, str):
        raise BadFeedbackError("decision_id", given, "the id of a decision, or of a response")
    found = _ID.match(given)
    if found is None:
        raise UnknownDecisionError(given)
    return f"dec_{found.group(1)}"


def feedback(body: Mapping[str, Any], *, feedback_id: str, at: datetime) -> Feedback:
    """One judgement, as the log keeps it.

    Raises
    ------
    BadFeedbackError
        Naming the field that is wrong and what it may be.
    UnknownDecisionError
        If the id cannot be one of ours.
    """
    fields = _renamed(body)
    _refuse_unknown(fields, _FEEDBACK)
    metric = _required(fields, "metric")
    value, comment = _judgement(metric, fields)
    return Feedback(
        feedback_id,
        decision_id(_required(fields, "decision_id")),
        metric,
        value,
        _source(fields.get("source", "user")),
        comment,
        _tags(fields.get("tags")),
        _moment(fields.get("occurred_at")),
        at,
    )


@dataclass(frozen=True, slots=True)
class ReportedOutcome:
    """What a caller measured who ran the model itself; ``arm`` None is the decision's own."""

    arm: str | None
    model: str | None
    numbers: Mapping[str, float | None]
    finish_reason: str | None
    failure: str | None
    answer: str | None
    occurred_at: datetime | None

    def cost_at(self, price: Price) -> float | None:
        """Cost of the reported tokens in US dollars; None where tokens or price are unknown."""
        tokens_in, tokens_out = self.numbers["tokens_in"], self.numbers["tokens_out"]
        if tokens_in is None or tokens_out is None:
            return None
        return price.cost_usd(int(tokens_in), int(tokens_out))

    def energy_at(self, rate: EnergyRate) -> float | None:
        """Energy as reported, else of the reported tokens, in joules; None where it is unknown."""
        reported = self.numbers["energy_j"]
        if reported is not None:
            return reported
        tokens = (_whole(self.numbers[name]) for name in ("tokens_in", "tokens_out"))
        return rate.energy_j(*tokens)

    def as_outcome(
        self,
        decision_id: str,
        *,
        arm: str,
        model: str,
        cost_usd: float | None,
        energy_j: float | None,
        at: datetime,
        keep_answer: bool,
    ) -> Outcome:
        """The outcome of a decision, given what stands in for what was not reported.

        Parameters
        ----------
        cost_usd
            Cost by the arm's prices, used where the caller gives none; None if unknown.
        energy_j
            What `energy_at` says.
        """
        reported = self.numbers["cost_usd"]
        source: CostSource = "unknown" if cost_usd is None else "estimate"
        return Outcome(
            decision_id,
            self.arm or arm,
            self.model or model,
            self.numbers["latency_s"],
            self.numbers["ttft_s"],
            cost_usd if reported is None else reported,
            source if reported is None else "caller",
            _whole(self.numbers["tokens_in"]),
            _whole(self.numbers["tokens_out"]),
            self.finish_reason,
            self.failure,
            reported_by="caller",
            at=self.occurred_at or at,
            answer=self.answer if keep_answer else None,
            energy_j=energy_j,
        )


def outcome(body: Mapping[str, Any], *, arms: Collection[str]) -> ReportedOutcome:
    """What the caller measured.

    Raises
    ------
    BadFeedbackError
        Naming the field that is wrong and what it may be.
    """
    _refuse_unknown(body, _OUTCOME)
    numbers = {name: _number(body, name) for name in _MEASURES}
    numbers |= {name: _count(body, name) for name in ("tokens_in", "tokens_out")}
    if all(value is None for value in numbers.values()) and body.get("failure") is None:
        raise BadFeedbackError("latency_s", None, "at least one measurement, or a failure")
    arm = _text(body, "arm", 64)
    if arm is not None and arm not in arms:
        raise BadFeedbackError("arm", arm, f"one of {', '.join(sorted(arms))}")
    failure = _text(body, "failure", 32)
    if failure is not None and failure not in _FAILURES:
        raise BadFeedbackError("failure", failure, f"one of {', '.join(_FAILURES)}")
    return ReportedOutcome(
        arm,
        _text(body, "model", 200),
        numbers,
        _text(body, "finish_reason", 64),
        failure,
        _text(body, "answer", 1 << 20),
        _moment(body.get("occurred_at")),
    )


def _renamed(body: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for given, value in body.items():
        name = _ALIASES.get(given, given)
        if name in fields:
            raise BadFeedbackError(name, value, "one name for it, not two")
        fields[name] = value
    return fields


def _refuse_unknown(fields: Mapping[str, Any], known: Collection[str]) -> None:
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name[:64], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(known)}"
            raise BadFeedbackError(name[:64], fields[name], f"a field that exists: {hint}")


def _required(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise BadFeedbackError(name, None, "something: it is required")
    return fields[name]


def _judgement(metric: Any, fields: Mapping[str, Any]) -> tuple[float | None, str | None]:
    comment = _text(fields, "comment", MAX_COMMENT_BYTES)
    if metric == COMMENT:
        return None, _comment_alone(fields, comment)
    if not isinstance(metric, str):
        raise BadFeedbackError("metric", metric, "the name of a metric")
    check_metric(metric)
    value = _value(metric, _required(fields, "value"))
    normalise(metric, 1.0 if value is None else value)
    return value, comment


def _comment_alone(fields: Mapping[str, Any], comment: str | None) -> str:
    # TensorZero sends the text of a comment as its value.
    text = comment if comment is not None else _text(fields, "value", MAX_COMMENT_BYTES)
    if not text:
        raise BadFeedbackError("comment", text, "some text")
    return text


def _value(metric: str, given: Any) -> float | None:
    if given is None:
        return None
    if metric in _BINARY and isinstance(given, bool):
        return float(given)
    if metric == "thumbs" and isinstance(given, str) and given in _WORDS:
        return _WORDS[given]
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise BadFeedbackError("value", given, _want(metric))
    return float(given)


def _want(metric: str) -> str:
    kinds = {"thumbs": '"up", "down", true, false, 1 or 0', "task_success": "true, false, 1 or 0",
             "rating": "a number from 1 to 5", "judge": "a number from 0 to 1"}  # fmt: skip
    return f"{kinds.get(metric, 'a number')}, or null to withdraw"


def _source(given: Any) -> str:
    if not isinstance(given, str) or not _SOURCE.match(given):
        raise BadFeedbackError("source", given, "1 to 64 letters, digits or _.:@+-")
    return given


def _tags(given: Any) -> Mapping[str, str]:
    if given is None:
        return {}
    want = "at most 16 names (64 characters) with text values (256 characters)"
    if not isinstance(given, dict) or len(given) > 16:
        raise BadFeedbackError("tags", given, want)
    for name, value in given.items():
        if not isinstance(value, str) or len(name) > 64 or len(value) > 256:
            raise BadFeedbackError("tags", {name[:64]: value}, want)
    return given


def _moment(given: Any) -> datetime | None:
    if given is None:
        return None
    want = "a time with its zone, such as 2026-01-31T12:00:00Z"
    try:
        moment = datetime.fromisoformat(given)
        # Beyond the years 1 to 9999 in UTC it could not be stored, nor read again.
        in_utc = moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BadFeedbackError("occurred_at", given, want) from None
    if moment.tzinfo is None:
        raise BadFeedbackError("occurred_at", given, want)
    return in_utc


def _text(fields: Mapping[str, Any], name: str, most_bytes: int) -> str | None:
    given = fields.get(name)
    if given is not None and (not isinstance(given, str) or len(given.encode()) > most_bytes):
        raise BadFeedbackError(name, given, f"text of at most {most_bytes} bytes")
    return given


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    given = fields.get(name)
    if given is None:
        return None
    plain = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not plain or not math.isfinite(given) or not 0 <= given <= _MOST:
        raise BadFeedbackError(name, given, "a finite number of at least 0")
    return float(given)


def _count(fields: Mapping[str, Any], name: str) -> float | None:
    given = fields.get(name)
    if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
        raise BadFeedbackError(name, given, "a whole number of at least 0")
    return _number(fields, name)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
