"""What an edge model's answer shows of itself: the numbers that a gate looks at."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from features.answer import answer_signals
from features.query import Query
from serving.accounting import Meter

_JSON_KINDS = frozenset({"json_object", "json_schema"})


def signals_of(answer: Meter, query: Query, *, whole: bool) -> dict[str, float]:
    """The signals of an answer, or of its beginning.

    Parameters
    ----------
    whole
        False for the first words of a stream that goes on.

    Returns
    -------
    Every finite number that the model's side gave of its confidence, what the text shows (see
    `features.answer.answer_signals`), and ``whole``, ``truncated`` (the limit cut it) and
    ``format_failed`` (JSON was asked for and is not there), each 0 or 1.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> said = Meter()
    >>> _ = said.take({"choices": [{"message": {"content": "I'm sorry."}}]})
    >>> found = signals_of(said, Query([], datetime.now(UTC)), whole=True)
    >>> found["refuses"], found["truncated"]
    (1.0, 0.0)
    """
    told = {name: float(n) for name, n in answer.confidence.items() if math.isfinite(n)}
    return {
        **told,
        **answer_signals(answer.heard, _question(query.messages)),
        "whole": float(whole),
        "truncated": float(answer.finish_reason == "length"),
        "format_failed": float(whole and _wants_json(query) and not _is_json(answer.heard)),
    }


def well_formed(signals: Mapping[str, float]) -> bool:
    """Whether there is an answer with nothing obviously wrong with it."""
    flaws = ("truncated", "format_failed", "refuses")
    return signals["n_words"] > 0 and not any(signals[name] for name in flaws)


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    content = messages[-1].get("content") if messages else None
    return content if isinstance(content, str) else ""


def _wants_json(query: Query) -> bool:
    wanted = query.fields.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") in _JSON_KINDS


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
