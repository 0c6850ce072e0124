"""What tokens cost: prices per arm, and the cost of one answer. Unknown is a state, never 0."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from genai_prices import Usage, calc_price

from feedback.outcome import CostSource

PriceSource: TypeAlias = Literal["config", "genai-prices", "unknown"]

_THOUSAND = 1_000
_MILLION = 1_000_000
_MOST_TOKENS = 10_000_000
_CHARS_PER_TOKEN = 4

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million prompt and completion tokens, and where the numbers come from.

    Examples
    --------
    >>> Price(1.0, 2.0, "config").cost_usd(1000, 500)
    0.002
    >>> Price().cost_usd(1000, 500) is None
    True
    """

    price_in: float | None = None
    price_out: float | None = None
    source: PriceSource = "unknown"

    @property
    def known(self) -> bool:
        """Whether a cost can be told at all."""
        return self.price_in is not None and self.price_out is not None

    def cost_usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Cost of an answer in US dollars; None while a price is unknown."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / _MILLION


def find_price(model: str, *, provider: str | None = None) -> Price:
    """The price that the bundled ``genai-prices`` table lists for ``model``, or an unknown one.

    Offline; the first call reads the table (about 60 ms), so it belongs to the start of a server.
    """
    # A thousand tokens, not a million: long queries fall into dearer tiers of some models.
    some = Usage(input_tokens=_THOUSAND, output_tokens=_THOUSAND)
    try:
        once = calc_price(some, model, provider_id=provider)
    except LookupError:
        _LOG.warning("no price is known for model %r; its cost stays unknown", model[:80])
        return Price()
    return Price(
        float(once.input_price * _THOUSAND), float(once.output_price * _THOUSAND), "genai-prices"
    )


def choose_price(
    price_in: float | None,
    price_out: float | None,
    *,
    model: str,
    provider: str | None = None,
) -> Price:
    """The configured price where both numbers are given, else what `find_price` finds."""
    if price_in is not None and price_out is not None:
        return Price(price_in, price_out, "config")
    return find_price(model, provider=provider)


@dataclass(frozen=True, slots=True)
class Charge:
    """Tokens and cost of one answer, and how they are known.

    ``counted`` is True where the tokens are the model's own count, not our estimate.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    cost_source: CostSource = "unknown"
    counted: bool = False

    def and_before(self, first: "Charge") -> "Charge":
        """The tokens of this answer, at the cost of it and of one that was paid for before it.

        Examples
        --------
        >>> Charge(9, 3, 0.5, "usage").and_before(Charge(9, 7, 0.25, "estimate"))
        Charge(tokens_in=9, tokens_out=3, cost_usd=0.75, cost_source='estimate', counted=False)
        """
        if self.cost_usd is None or first.cost_usd is None:
            return replace(self, cost_usd=None, cost_source="unknown")
        sources = (self.cost_source, first.cost_source)
        source: CostSource = "estimate" if "estimate" in sources else self.cost_source
        return replace(self, cost_usd=self.cost_usd + first.cost_usd, cost_source=source)


def charge(
    price: Price,
    usage: Mapping[str, Any] | None,
    *,
    chars_in: int,
    chars_out: int,
    most_out: int | None = None,
) -> Charge:
    """What an answer cost: from ``usage`` where it is plausible, else estimated from its length.

    Parameters
    ----------
    usage
        OpenAI's usage object as the model's side gave it; it may lie.
    chars_in, chars_out
        Lengths of query and answer in characters; about four of them make a token.
    most_out
        Tokens that the answer cannot have more of, for the estimate; None where that is not known.
    """
    counts = _plausible(usage, chars_out)
    source: CostSource = "usage" if counts else "estimate"
    said = estimate_tokens(chars_out)
    said = said if most_out is None else min(said, most_out)
    tokens_in, tokens_out = counts or (estimate_tokens(chars_in), said)
    cost_usd = price.cost_usd(tokens_in, tokens_out)
    return Charge(
        tokens_in,
        tokens_out,
        cost_usd,
        "unknown" if cost_usd is None else source,
        counts is not None,
    )


def estimate_tokens(chars: int) -> int:
    """About how many tokens ``chars`` characters are, rounded up.

    Examples
    --------
    >>> estimate_tokens(9)
    3
    """
    return -(-chars // _CHARS_PER_TOKEN)


def _plausible(usage: Mapping[str, Any] | None, chars_out: int) -> tuple[int, int] | None:
    if not isinstance(usage, Mapping):
        return None
    tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
    # bool is an int to isinstance, and no count.
    if type(tokens_in) is not int or type(tokens_out) is not int:
        return None
    in_range = 0 <= tokens_in <= _MOST_TOKENS and 0 <= tokens_out <= _MOST_TOKENS
    return (tokens_in, tokens_out) if in_range and (tokens_out > 0 or not chars_out) else None
