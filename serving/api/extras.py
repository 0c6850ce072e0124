"""Our own part of a request, the object ``pointsman``: checked before anything is decided."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from serving.errors import BadRequestError
from serving.selector import Weights, Wish
from serving.tags import read_tags

_WEIGHTS = ("quality", "cost", "latency")
_MOST_USD = 1e6
_MOST_S = 30 * 86_400.0
_LONGEST_REFERENCE = 100_000


@dataclass(frozen=True, slots=True)
class Extras:
    """What the caller tells us, and nobody else: none of it reaches an arm.

    Attributes
    ----------
    wish
        How the caller wants to be routed.
    session_id
        The session that the query belongs to.
    reference
        An answer known to be right, for whoever judges.
    """

    wish: Wish
    session_id: str | None = None
    reference: str | None = None


def read_extras(given: Any, *, model: str) -> Extras:
    """What the object ``pointsman`` of a request says.

    Parameters
    ----------
    given
        The value of ``pointsman``, as it came as JSON; None asks for nothing.

    Raises
    ------
    BadRequestError
        With the name of the field that cannot be used, and what it may be.

    Examples
    --------
    >>> read_extras({"scenario": "speed", "mes": 0.8}, model="auto").wish.mes
    0.8
    """
    fields = _checked(given)
    mes, least = fields.pop("mes"), fields.pop("min_quality")
    if mes is not None and least is not None and mes != least:
        raise BadRequestError(
            "pointsman.mes and pointsman.min_quality are one number under two names; give one",
            "pointsman.min_quality",
        )
    session_id, reference = fields.pop("session_id"), fields.pop("reference")
    fields["tags"] = fields["tags"] or {}
    wish = Wish(model, mes=least if mes is None else mes, **fields)
    return Extras(wish, session_id, reference)


def _checked(given: Any) -> dict[str, Any]:
    if given is None:
        return dict.fromkeys(_FIELDS)
    if not isinstance(given, dict):
        raise BadRequestError("pointsman must be an object", "pointsman")
    _refuse_unknown(given, tuple(sorted(_FIELDS)), "pointsman")
    return {name: check(given.get(name), f"pointsman.{name}") for name, check in _FIELDS.items()}


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        name = unknown[0][:40]
        listed = ", ".join(known)
        raise BadRequestError(f"unknown field {name!r}; known: {listed}", f"{where}.{name}")


def _short_text(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 128 or not value.isprintable():
        raise BadRequestError(f"{where} must be a string of 1 to 128 printable characters", where)
    return value


def _reference(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_REFERENCE or not value.strip():
        want = f"a string of 1 to {_LONGEST_REFERENCE} characters, not only blanks"
        raise BadRequestError(f"{where} must be {want}", where)
    return value


def _number(low: float, high: float, want: str) -> Callable[[Any, str], float | None]:
    """A check for a number above ``low`` (which it may not be) and at most ``high``."""

    def check(value: Any, where: str) -> float | None:
        if value is None:
            return None
        # bool is an int to isinstance, and no number to anyone else.
        if type(value) not in (int, float) or not low < value <= high:
            raise BadRequestError(f"{where} must be {want}", where)
        return float(value)

    return check


def _weights(value: Any, where: str) -> Weights | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRequestError(f"{where} must be an object of {', '.join(_WEIGHTS)}", where)
    _refuse_unknown(value, _WEIGHTS, where)
    parts = [_weight(value.get(name, 0.0), f"{where}.{name}") for name in _WEIGHTS]
    if abs(math.fsum(parts) - 1.0) > 1e-6:
        total = f"{math.fsum(parts):.6g}"
        raise BadRequestError(f"{where} must sum to 1; these sum to {total}", where)
    return Weights(*parts)


def _weight(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
        raise BadRequestError(f"{where} must be a number in [0, 1]", where)
    return float(value)


_enough = _number(0.0, 1.0, "a number above 0 and at most 1")
_FIELDS: Mapping[str, Callable[[Any, str], Any]] = MappingProxyType(
    {
        "scenario": _short_text,
        "session_id": _short_text,
        "reference": _reference,
        "mes": _enough,
        "min_quality": _enough,
        "weights": _weights,
        "max_cost_usd": _number(0.0, _MOST_USD, "US dollars above 0 and at most 1e6"),
        "max_latency_s": _number(0.0, _MOST_S, "seconds above 0 and at most 2592000"),
        "tags": read_tags,
    }
)
