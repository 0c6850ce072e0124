"""Completes a replay table: tokens, cost and latency that the file does not say.

Everything assumed is added to the table's notes, so that no number appears out of nowhere.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from serving.pricing import find_price
from simulator.errors import BadTableError
from simulator.table import Floats, ReplayTable

CHARS_PER_TOKEN = 4.0
TOKENS_OUT = 250.0
"""Length of an answer where nothing is known of it."""


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Time to first token plus tokens times inter-token time, each log-normal.

    The defaults for ``cloud`` are near the medians of public LLMPerf measurements of 70B models
    (0.2 to 0.6 s and 5 to 46 ms, by provider); those for ``edge`` are one small model on a few
    local cores.

    Attributes
    ----------
    ttft_s, per_token_s
        Medians, in seconds.
    ttft_sigma, per_token_sigma
        Standard deviations of the logarithms.
    """

    ttft_s: float
    per_token_s: float
    ttft_sigma: float = 0.25
    per_token_sigma: float = 0.1

    def sample(self, tokens_out: Floats, rng: np.random.Generator) -> Floats:
        """One latency in seconds for every answer length."""
        first = self.ttft_s * np.exp(self.ttft_sigma * rng.standard_normal(tokens_out.shape))
        pace = self.per_token_s * np.exp(
            self.per_token_sigma * rng.standard_normal(tokens_out.shape)
        )
        return first + pace * tokens_out


EDGE_LATENCY = LatencyModel(0.3, 0.022)
CLOUD_LATENCY = LatencyModel(0.5, 0.020)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million prompt and completion tokens."""

    price_in: float
    price_out: float


EDGE_PRICE = Price(0.1, 0.1)
CLOUD_PRICE = Price(1.0, 3.0)
"""Assumed, and noted, where no table lists the model."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What completes a table; the first model is the edge, all others are cloud."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    edge_latency: LatencyModel = EDGE_LATENCY
    cloud_latency: LatencyModel = CLOUD_LATENCY
    tokens_out: float = TOKENS_OUT
    seed: int = 0


def read_prices(path: Path) -> dict[str, Price]:
    """Prices of a CSV file with columns ``model``, ``usd_per_M_in`` and ``usd_per_M_out``.

    A model listed twice keeps its first prices.

    Raises
    ------
    BadTableError
        If a column is missing or a price is not a number of at least 0.
    """
    if not path.is_file():
        raise BadTableError(path, "", "no such file")
    prices: dict[str, Price] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        for name in ("model", "usd_per_M_in", "usd_per_M_out"):
            if name not in (rows.fieldnames or ()):
                raise BadTableError(path, "header", f"no column {name!r}")
        for n, row in enumerate(rows, start=1):
            numbers = _price_of(path, n, row)
            prices.setdefault(_key(row["model"] or ""), numbers)
    return prices


def _price_of(path: Path, n: int, row: Mapping[str, str]) -> Price:
    try:
        price = Price(float(row["usd_per_M_in"]), float(row["usd_per_M_out"]))
    except (TypeError, ValueError):
        raise BadTableError(path, f"row {n}", "a price that is not a number") from None
    if not all(math.isfinite(p) and p >= 0.0 for p in (price.price_in, price.price_out)):
        raise BadTableError(path, f"row {n}", "a price below 0 or not finite")
    return price


def _key(model: str) -> str:
    """A model's name without its maker, in lower case: tables spell them differently."""
    return model.strip().lower().rsplit("/", 1)[-1]


def known_price(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of ``model``: as given, else as the genai-prices package lists it."""
    key = _key(model)
    for name in (key, key.removeprefix("meta-")):
        if name in prices:
            return prices[name]
    listed = find_price(model)
    if listed.price_in is None or listed.price_out is None:
        return None
    return Price(listed.price_in, listed.price_out)


def complete(table: ReplayTable, assumed: Assumptions) -> ReplayTable:
    """The table with no unknown tokens, cost, price or latency left; assumptions are noted."""
    rng = np.random.default_rng(assumed.seed)
    notes = list(table.notes)
    lengths = np.array([math.ceil(len(text) / CHARS_PER_TOKEN) for text in table.prompts])
    tokens_in = np.where(np.isnan(table.tokens_in), lengths[:, None], table.tokens_in)
    tokens_out, cost = table.tokens_out.copy(), table.cost_usd.copy()
    latency, prices = table.latency_s.copy(), []
    for j, model in enumerate(table.models):
        tokens_out[:, j], cost[:, j], price = _bill(
            tokens_in[:, j], tokens_out[:, j], cost[:, j], _Bill(model, j, assumed, notes)
        )
        prices.append(price)
        timing = assumed.edge_latency if j == 0 else assumed.cloud_latency
        sampled = timing.sample(tokens_out[:, j], rng)
        latency[:, j] = np.where(np.isnan(latency[:, j]), sampled, latency[:, j])
    if np.isnan(table.latency_s).any():
        notes.append(_latency_note(assumed))
    return replace(
        table,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost_usd=cost,
        latency_s=latency,
        price_in=np.array([price.price_in for price in prices]),
        price_out=np.array([price.price_out for price in prices]),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Bill:
    model: str
    column: int
    assumed: Assumptions
    notes: list[str]


def _bill(
    tokens_in: Floats, tokens_out: Floats, cost: Floats, bill: _Bill
) -> tuple[Floats, Floats, Price]:
    """Answer lengths, cost and price of one model, each from the two others where it is unknown."""
    price = known_price(bill.model, bill.assumed.prices)
    unbilled, unsized = np.isnan(cost), np.isnan(tokens_out)
    if price and price.price_out > 0.0:
        # A billed answer of unknown length is as long as its bill says.
        billed = (cost * 1e6 - tokens_in * price.price_in) / price.price_out
        tokens_out = np.where(unsized, np.maximum(1.0, np.round(billed)), tokens_out)
        unsized = np.isnan(tokens_out)
    if unsized.any():
        lengths = bill.assumed.tokens_out
        bill.notes.append(f"answer lengths of {bill.model} unknown: {lengths:g} tokens assumed")
        tokens_out = np.where(unsized, lengths, tokens_out)
    if not unbilled.any():
        # What was really paid a token, whatever a price list says today.
        paid = float(cost.sum() / max(1.0, (tokens_in + tokens_out).sum()) * 1e6)
        if price is None or not _agrees(cost, tokens_in, tokens_out, price):
            price = Price(paid, paid)
        return tokens_out, cost, price
    price = price or _assumed_price(bill)
    return tokens_out, np.where(unbilled, _cost(tokens_in, tokens_out, price), cost), price


def _agrees(cost: Floats, tokens_in: Floats, tokens_out: Floats, price: Price) -> bool:
    total = float(cost.sum())
    return abs(float(_cost(tokens_in, tokens_out, price).sum()) - total) <= 0.02 * total


def _cost(tokens_in: Floats, tokens_out: Floats, price: Price) -> Floats:
    return (tokens_in * price.price_in + tokens_out * price.price_out) / 1e6


def _assumed_price(bill: _Bill) -> Price:
    price = EDGE_PRICE if bill.column == 0 else CLOUD_PRICE
    bill.notes.append(
        f"no price is known for {bill.model}: ${price.price_in:g} and ${price.price_out:g} per "
        "million tokens in and out assumed; --price or --prices says better"
    )
    return price


def _latency_note(assumed: Assumptions) -> str:
    edge, cloud = assumed.edge_latency, assumed.cloud_latency
    return (
        f"latency sampled: edge {edge.ttft_s:g} s + {edge.per_token_s:g} s a token, "
        f"cloud {cloud.ttft_s:g} s + {cloud.per_token_s:g} s a token"
    )
