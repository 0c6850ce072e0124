"""What each kind of event does to a stretch of the world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simulator.drift import Event
from simulator.table import Floats


@dataclass(frozen=True, slots=True)
class Block:
    """Rounds ``start`` to ``start + len(rows)``; matrices have shape (b, k) for k arms.

    Attributes
    ----------
    rows
        Row of the table that each round asks.
    quality, cost_usd, latency_s
        What each arm would score, cost and take.
    tokens_in, tokens_out
        Served counts.
    price_in, price_out
        US dollars per million tokens, as the arms say them.
    failing
        Calls that would fail.
    eligible
        Arms that exist.
    model
        Column of the table whose model stands behind each arm.
    digest
        Version of the model that each arm *says* it is: it changes when a swap is announced.
    judge_bias
        Added to what the judge says of an arm.
    silent
        Rounds whose feedback is lost.
    poison
        Votes of a lying source, NaN where it is silent.
    """

    start: int
    rows: NDArray[np.int64]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    tokens_in: Floats
    tokens_out: Floats
    price_in: Floats
    price_out: Floats
    failing: NDArray[np.bool_]
    eligible: NDArray[np.bool_]
    model: NDArray[np.int64]
    digest: NDArray[np.int64]
    judge_bias: Floats
    silent: NDArray[np.bool_]
    poison: Floats

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Column:
    """What another model does on a block's rows; matrices of shape (b,), prices in dollars."""

    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    tokens_in: Floats
    tokens_out: Floats
    price_in: float
    price_out: float
    model: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One event as it meets one block.

    Attributes
    ----------
    arms
        The columns that it befalls.
    course
        Intensity at each round, shape (b,).
    happens
        Rounds drawn with that probability.
    spare
        Uniform numbers for whatever else is a matter of chance.
    shift
        For ``quality``: what full intensity adds.
    """

    event: Event
    arms: slice
    course: Floats
    happens: NDArray[np.bool_]
    spare: Floats
    shift: float = 0.0
    other: Column | None = None

    def number(self, name: str, default: float) -> float:
        """A numeric field of the event."""
        return float(self.event.fields.get(name, default))

    def factor(self, name: str) -> Floats:
        """1 without the event, the field's value at full intensity; shape (b, 1)."""
        return np.asarray(1.0 + self.course * (self.number(name, 1.0) - 1.0))[:, None]


def _quality(block: Block, hit: Hit) -> None:
    block.quality[:, hit.arms] += (hit.course * hit.shift)[:, None]


def _price(block: Block, hit: Hit) -> None:
    for part in (block.price_in, block.price_out, block.cost_usd):
        part[:, hit.arms] *= hit.factor("times")


def _latency(block: Block, hit: Hit) -> None:
    block.latency_s[:, hit.arms] *= hit.factor("times")
    block.latency_s[:, hit.arms] += (hit.course * hit.number("add_s", 0.0))[:, None]


def _outage(block: Block, hit: Hit) -> None:
    block.failing[:, hit.arms] |= (hit.happens & (hit.spare < hit.number("rate", 1.0)))[:, None]


def _arrive(block: Block, hit: Hit) -> None:
    rounds = np.arange(block.start, block.start + len(block))
    block.eligible[:, hit.arms] &= (rounds >= hit.event.start)[:, None]


def _retire(block: Block, hit: Hit) -> None:
    block.eligible[:, hit.arms] &= ~hit.happens[:, None]


def _judge(block: Block, hit: Hit) -> None:
    block.judge_bias[:, hit.arms] += (hit.course * hit.number("by", 0.0))[:, None]


def _silence(block: Block, hit: Hit) -> None:
    # ``rate`` is the share of feedback that still arrives.
    block.silent[:] |= hit.happens & (hit.spare >= hit.number("rate", 0.0))


def _poison(block: Block, hit: Hit) -> None:
    lies = hit.happens & (hit.spare < hit.number("share", 0.0))
    block.poison[lies, hit.arms] = hit.number("value", 1.0)


def _swap(block: Block, hit: Hit) -> None:
    other = hit.other
    if other is None:
        return
    for name in ("quality", "cost_usd", "latency_s", "tokens_in", "tokens_out"):
        part = getattr(block, name)
        column = getattr(other, name)[:, None]
        part[:, hit.arms] = np.where(hit.happens[:, None], column, part[:, hit.arms])
    block.model[hit.happens, hit.arms] = other.model
    if hit.event.fields.get("announced", False):
        block.digest[hit.happens, hit.arms] += 1
        block.price_in[hit.happens, hit.arms] = other.price_in
        block.price_out[hit.happens, hit.arms] = other.price_out


def _mix(block: Block, hit: Hit) -> None:
    """Nothing: the world has chosen other rows already."""


CHANGES: Mapping[str, Callable[[Block, Hit], None]] = MappingProxyType(
    {
        "quality": _quality,
        "swap": _swap,
        "price": _price,
        "latency": _latency,
        "outage": _outage,
        "mix": _mix,
        "arrive": _arrive,
        "retire": _retire,
        "judge": _judge,
        "silence": _silence,
        "poison": _poison,
    }
)
