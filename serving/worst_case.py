"""The most that a query can cost: what is reserved before it is asked."""

import json
from datetime import UTC, datetime

import orjson

from features.query import Query
from serving.arms import ArmSpec
from serving.errors import SettingsError

_MESSAGE_TOKENS = 16
"""What a chat template adds to a message, and more than it adds."""
_START_TOKENS = 64
_IMAGE_TOKENS = 20_000
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_PARTS_WITHOUT_TEXT = ("image_url", "input_audio", "file")


def pays(spec: ArmSpec) -> bool:
    """Whether asking this arm costs money, as far as is known."""
    price = spec.price
    return not price.known or (price.price_in or 0.0) + (price.price_out or 0.0) > 0.0


def most_answer_tokens(spec: ArmSpec) -> int:
    """The longest answer that this arm gives if nobody says how long it may be.

    Raises
    ------
    SettingsError
        If that is not known.
    """
    known = [limit for limit in (spec.answer_tokens, spec.context_tokens) if limit is not None]
    if not known:
        raise SettingsError(
            f"arms.{spec.arm_id}",
            "a daily cap needs to know how long an answer can be",
            "set its answer_tokens (the provider's own limit) or context_tokens",
        )
    return min(known)


def most_prompt_tokens(query: Query, spec: ArmSpec) -> int:
    """No fewer tokens than the arm will read: a token is at least one byte of UTF-8."""
    fields = {**query.fields, "messages": list(query.messages)}
    tokens = len(_json(fields)) + _MESSAGE_TOKENS * len(query.messages) + _START_TOKENS
    tokens += _IMAGE_TOKENS * sum(_others(message.get("content")) for message in query.messages)
    return tokens if spec.context_tokens is None else min(tokens, spec.context_tokens)


def worst_usd(query: Query, spec: ArmSpec) -> float:
    """The most that ``query`` can cost at this arm, in US dollars; 0 where nothing is paid.

    Raises
    ------
    SettingsError
        If it cannot be known, which `check_arm` finds before anything is served.
    """
    if not pays(spec):
        return 0.0
    answer = most_answer_tokens(spec) * _choices(query)
    asked = asked_tokens(query)
    if asked is not None:
        answer = min(answer, asked)
    cost = spec.price.cost_usd(most_prompt_tokens(query, spec), answer)
    if cost is None:
        raise SettingsError(
            f"arms.{spec.arm_id}",
            f"no price is known for {spec.model!r}, so no budget can be kept",
            "set its price_in and price_out",
        )
    return cost


def check_arm(spec: ArmSpec) -> float:
    """What the shortest query without a limit may cost, in US dollars.

    Raises
    ------
    SettingsError
        If a price or the longest answer is not known.
    """
    return worst_usd(Query((), _NO_TIME, {}), spec)


def asked_tokens(query: Query) -> int | None:
    """The most tokens that the caller lets an answer have, over all its choices; None is no limit.

    Examples
    --------
    >>> asked_tokens(Query((), _NO_TIME, {"max_tokens": 10, "n": 2}))
    20
    """
    given = [query.fields.get(name) for name in ("max_completion_tokens", "max_tokens")]
    limits = [limit for limit in given if isinstance(limit, int)]
    return max(limits) * _choices(query) if limits else None


def _choices(query: Query) -> int:
    n = query.fields.get("n")
    return n if isinstance(n, int) else 1


def _others(content: object) -> int:
    parts = content if isinstance(content, list) else ()
    return sum(isinstance(p, dict) and p.get("type") in _PARTS_WITHOUT_TEXT for p in parts)


def _json(fields: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # huge integers, which JSON has and orjson has not
        return json.dumps(fields).encode()
