"""The state of a conversation and the time, each value of order 1."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.query import Query
from features.text import content_text

CONVERSATION: tuple[str, ...] = (
    "log_turns",
    "log_total_chars",
    "has_system",
    "has_answers",
    "ends_with_tool",
    "tools",
    "images",
    "json",
    "max_tokens_set",
    "log_max_tokens",
    "session",
    "stream",
)
"""Names of the conversation's features."""

TIME: tuple[str, ...] = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
"""Names of the time's features; all 0 when the time is not known."""

_COUNTED = 256
"""Messages whose length and role are looked at, counted from the last."""

_MOST_TOKENS = 1_000_000
_DAY_S = 86_400.0


def conversation_features(query: Query) -> NDArray[np.float32]:
    """Shape (len(CONVERSATION),), float32, within [-3, 3]."""
    messages = [m for m in query.messages[-_COUNTED:] if isinstance(m, Mapping)]
    roles = [m.get("role") for m in (*query.messages[:1], *messages) if isinstance(m, Mapping)]
    n_chars = sum(len(content_text(message.get("content"))) for message in messages)
    limit = min(max(query.max_tokens or 0, 0), _MOST_TOKENS)
    values = (
        math.log1p(len(query.messages)) / 2,
        math.log1p(n_chars) / 2 - 2.5,
        float("system" in roles or "developer" in roles),
        float("assistant" in roles),
        float(bool(messages) and messages[-1].get("role") in ("tool", "function")),
        float("tools" in query.requires or bool(query.fields.get("tools"))),
        float("images" in query.requires or any(_has_image(m.get("content")) for m in messages)),
        float(_wants_json(query)),
        float(query.max_tokens is not None),
        math.log1p(limit) / 2 - 3 if limit else 0.0,
        float(query.session_id is not None),
        float(query.stream),
    )
    return np.clip(np.array(values, dtype=np.float32), -3, 3)


def time_features(moment: datetime) -> NDArray[np.float32]:
    """Hour of the day and day of the week as points on a circle, shape (4,), in [-1, 1].

    >>> time_features(datetime(2024, 1, 1, 6)).round(3).tolist()[:2]
    [1.0, 0.0]
    """
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    day = (moment - midnight) / timedelta(seconds=_DAY_S)
    hour, week = 2 * math.pi * day, 2 * math.pi * (moment.weekday() + day) / 7
    return np.array(
        [math.sin(hour), math.cos(hour), math.sin(week), math.cos(week)], dtype=np.float32
    )


def _wants_json(query: Query) -> bool:
    wanted = query.fields.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    return kind in ("json_object", "json_schema") or bool(
        query.requires & {"json_schema", "json_object"}
    )


def _has_image(content: Any) -> bool:
    if not isinstance(content, list | tuple):
        return False
    kinds = (part.get("type") for part in content if isinstance(part, Mapping))
    return any(kind in ("image_url", "input_image", "image") for kind in kinds)
