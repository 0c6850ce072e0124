"""Which arms may answer a query, and why the others may not."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from bandit.primitives import Arm
from features.query import Query
from serving.arms import EVERYTHING
from serving.backends.base import Load
from serving.errors import BadRequestError, ServingError
from serving.pricing import estimate_tokens

PASSTHROUGH = "passthrough"
"""The capability of an arm that hands unknown fields on instead of dropping them."""

PASSING = frozenset({"unhealthy", "breaker_open", "overloaded", "max_latency"})
"""Reasons that may be gone a moment later, and are overlooked when nothing else is left."""

BUDGET = "budget"
"""Why an arm that costs money may not answer when there is none left."""

NOBODY: Mapping[str, ServingError] = MappingProxyType({})

_ANSWER_TOKENS = 256
_IMAGE_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Needs:
    """What a query asks of the arm that answers it.

    Attributes
    ----------
    tokens
        About how much room query and answer take together.
    tokens_in
        About how long the query alone is.
    max_cost_usd, max_wait_s
        The caller's own limits: an arm where the query alone costs more, or that has a longer queue
        than that, is sure to break them.
    one_call
        Whether the caller runs the model, which cannot be two of them.
    """

    capabilities: frozenset[str] = frozenset()
    tokens: int = 0
    tokens_in: int = 0
    max_cost_usd: float = math.inf
    max_wait_s: float = math.inf
    one_call: bool = False


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The arms that may answer, and the others with their reasons.

    Attributes
    ----------
    masked
        Arm id to ``capability:<name>``, ``context_length``, ``pin``, ``second_stage`` (a cascade
        where one call is all there is), ``unhealthy``, ``breaker_open``, ``overloaded``,
        ``max_cost``, ``max_latency`` or ``budget``. A cascade has the reason of the part that it
        is masked for, as ``<part>:<reason>``.
    bypassed
        True when every able arm was in trouble and all of them are tried anyway: an answer that may
        fail is better than one that surely does.
    """

    arms: tuple[Arm, ...]
    masked: Mapping[str, str] = field(default_factory=dict)
    bypassed: bool = False


def count_chars(query: Query) -> int:
    """Length of all that a model reads, in characters; an image counts as about 1,000 tokens."""
    chars = sum(_content_chars(message.get("content")) for message in query.messages)
    tools = query.fields.get("tools")
    return chars + (len(orjson.dumps(tools)) if tools else 0)


def needs_of(
    query: Query,
    chars: int,
    *,
    max_cost_usd: float | None = None,
    max_wait_s: float | None = None,
    one_call: bool = False,
) -> Needs:
    """What ``query``, of ``chars`` characters, needs; None is no limit."""
    tokens_in = estimate_tokens(chars)
    return Needs(
        query.requires,
        tokens_in + (query.max_tokens or _ANSWER_TOKENS),
        tokens_in,
        math.inf if max_cost_usd is None else max_cost_usd,
        math.inf if max_wait_s is None else max_wait_s,
        one_call,
    )


def trouble(load: Load, *, healthy: bool, breaker_open: bool, max_wait_s: float) -> str | None:
    """Why an arm should be left alone for now, or None."""
    if not healthy:
        return "unhealthy"
    if breaker_open:
        return "breaker_open"
    return "overloaded" if load.wait_s > max_wait_s else None


def sift(
    arms: Sequence[Arm],
    needs: Needs,
    *,
    troubles: Mapping[str, str],
    only: frozenset[str] | None = None,
    barred: Mapping[str, ServingError] = NOBODY,
) -> Eligibility:
    """Part the arms into those that may answer and those that may not.

    Parameters
    ----------
    troubles
        Arm id to the passing trouble that it is in; unlike what an arm cannot do, it is overlooked
        when nothing else is left.
    only
        Arms to choose from, where the caller named a tier; None for all.
    barred
        Arm id to what is raised if every arm that could answer is one that there is no money for.

    Raises
    ------
    BadRequestError
        If no arm is able to answer, whatever its state.
    """
    every = {arm.arm_id: arm for arm in arms}
    unable = {arm.arm_id: why for arm in arms if (why := _inability(arm, needs, only, every))}
    poor = {name: BUDGET for name in barred if name not in unable}
    able = [arm for arm in arms if arm.arm_id not in unable and arm.arm_id not in poor]
    if not able:
        raise barred[next(iter(poor))] if poor else _nothing_left(unable, needs)
    unable |= poor
    queued = (arm.arm_id for arm in able if arm.features.get("queue_s", 0.0) > needs.max_wait_s)
    late = dict.fromkeys(queued, "max_latency")
    late |= {arm.arm_id: why for arm in able if (why := part_trouble(arm.parts, late))}
    troubles = {**late, **troubles}
    fit = tuple(arm for arm in able if arm.arm_id not in troubles)
    if not fit:
        return Eligibility(tuple(able), unable, bypassed=True)
    passing = {arm.arm_id: troubles[arm.arm_id] for arm in able if arm.arm_id in troubles}
    return Eligibility(fit, {**unable, **passing})


def part_trouble(parts: Iterable[str], troubles: Mapping[str, str]) -> str | None:
    """Why a cascade of ``parts`` should be left alone for now, or None."""
    return next((f"{part}:{troubles[part]}" for part in parts if part in troubles), None)


def _inability(
    arm: Arm, needs: Needs, only: frozenset[str] | None, every: Mapping[str, Arm]
) -> str | None:
    if only is not None and arm.arm_id not in only:
        return "pin"
    if arm.parts and needs.one_call:
        return "second_stage"
    unable = {part: why for part in arm.parts if (why := _shortcoming(every[part], needs))}
    return part_trouble(arm.parts, unable) or _shortcoming(arm, needs)


def _shortcoming(arm: Arm, needs: Needs) -> str | None:
    missing = _missing(arm.capabilities, needs.capabilities)
    if missing:
        return f"capability:{missing[0]}"
    if arm.context_tokens is not None and needs.tokens > arm.context_tokens:
        return "context_length"
    if needs.tokens_in * (arm.price_in or 0.0) / 1e6 > needs.max_cost_usd:
        return "max_cost"
    return None


def _missing(has: frozenset[str], asked: Iterable[str]) -> list[str]:
    return [] if EVERYTHING in has else sorted(set(asked) - has)


def _nothing_left(unable: Mapping[str, str], needs: Needs) -> BadRequestError:
    reasons = {why for why in unable.values() if why != "pin"}
    listed = ", ".join(f"{arm}: {why}" for arm, why in unable.items() if why != "pin")
    if reasons and all(why.endswith("context_length") for why in reasons):
        return BadRequestError(
            f"the query needs room for about {needs.tokens} tokens, more than any arm that may "
            f"answer it has ({listed})",
            "messages",
            "context_length_exceeded",
        )
    return BadRequestError(f"no arm can answer this query ({listed})", None, "unsupported")


def _content_chars(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list):
        return 0
    return sum(len(p["text"]) if p.get("type") == "text" else _IMAGE_CHARS for p in content)
