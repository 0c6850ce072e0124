"""What an edge model's answer shows of itself: the numbers that a gate looks at."""

import json
import math
import re
from collections.abc import Mapping

from features.query import Query
from serving.accounting import Meter

# How small models begin when they give up; only the beginning counts, quoting one is no refusal.
_REFUSAL = re.compile(
    r"\s*(?:i(?:'|’)?m (?:sorry|unable|not able|not sure)|i am (?:sorry|unable|not able|not sure)"
    r"|sorry\b|i (?:can(?:no|'|’)t|cannot|do not|don(?:'|’)t) (?:know|help|answer|assist|provide)"
    r"|as an ai\b|unfortunately,? i\b)",
    re.IGNORECASE,
)
_JSON_KINDS = frozenset({"json_object", "json_schema"})


def signals_of(answer: Meter, query: Query, *, whole: bool) -> dict[str, float]:
    """The signals of an answer, or of its beginning.

    Parameters
    ----------
    answer
        Fed with the answer, its text kept.
    whole
        False for the first words of a stream that goes on.

    Returns
    -------
    Every finite number that the model's side gave of its confidence, and ``n_chars``, ``whole``,
    ``truncated`` (the limit cut it), ``format_failure`` (JSON was asked for and is not there) and
    ``refusal`` (it begins like one), the last four 0 or 1.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> said = Meter(keep=True)
    >>> _ = said.take({"choices": [{"message": {"content": "Sorry, no."}}]})
    >>> signals_of(said, Query([], datetime.now(UTC)), whole=True)["refusal"]
    1.0
    """
    text = answer.text or ""
    told = {name: float(n) for name, n in answer.confidence.items() if math.isfinite(n)}
    return {
        **told,
        "n_chars": float(answer.chars_out),
        "whole": float(whole),
        "truncated": float(answer.finish_reason == "length"),
        "format_failure": float(whole and _wants_json(query) and not _is_json(text)),
        "refusal": float(_REFUSAL.match(text) is not None),
    }


def well_formed(signals: Mapping[str, float]) -> bool:
    """Whether there is an answer with nothing obviously wrong with it."""
    flaws = ("truncated", "format_failure", "refusal")
    return signals["n_chars"] > 0 and not any(signals[name] for name in flaws)


def _wants_json(query: Query) -> bool:
    wanted = query.fields.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") in _JSON_KINDS


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
