"""Ground truth: what every arm would do at every round, drift included.

The world is made block by block from the table, the plan and a seed, so that a run of any length
costs the memory of one block. Every policy meets the same world under the same seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.changes import CHANGES, Block, Column, Hit
from simulator.drift import DriftPlan, Event
from simulator.errors import BadDriftError, BadStudyError, nearest
from simulator.table import Floats, ReplayTable

Order: TypeAlias = Literal["shuffle", "table"]
BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Survey:
    """A world at a glance: rows by round, and each arm's means over the run, shape (k,)."""

    order: NDArray[np.int64]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats


class World:
    """Truth for ``rounds`` rounds of a table under a plan.

    Parameters
    ----------
    table
        A completed table whose first ``n_arms`` models are the arms; further ones may be swapped
        in by the plan.
    order
        ``shuffle`` asks every row once in random order, then again in another; ``table`` keeps the
        file's order.

    Raises
    ------
    BadDriftError
        If the plan names an arm or a domain that there is not.
    """

    def __init__(
        self,
        table: ReplayTable,
        plan: DriftPlan,
        *,
        n_arms: int,
        rounds: int,
        seed: int,
        order: Order = "shuffle",
    ) -> None:
        if table.price_in is None or table.price_out is None:
            raise BadStudyError("table", table.name, "complete it first (simulator.fill)")
        self.table = table
        self.plan = plan
        self.n_arms = n_arms
        self.rounds = rounds
        self._seed = seed
        self._order = self._rows(order)
        self._prices = np.stack([table.price_in, table.price_out])
        self._arms = [self._resolve(event.arm, event) for event in plan.events]
        self._others = [self._resolve(e.fields.get("with"), e, columns=True) for e in plan.events]
        self._pools = [self._pool(event) for event in plan.events]

    def _rows(self, order: Order) -> NDArray[np.int64]:
        n = len(self.table)
        if order == "table":
            return np.arange(self.rounds, dtype=np.int64) % n
        rng = np.random.default_rng([self._seed, 1])
        epochs = -(-self.rounds // n)
        return np.concatenate([rng.permutation(n) for _ in range(epochs)])[: self.rounds]

    def _resolve(self, name: object, event: Event, *, columns: bool = False) -> int | None:
        if name is None:
            return None
        names = self.table.models if columns else self.table.models[: self.n_arms]
        known = {model: i for i, model in enumerate(names)}
        known |= {"edge": 0, "cloud": self.n_arms - 1}
        if name not in known:
            hint = nearest(str(name), list(known))
            raise BadDriftError(self.plan.name, f"{event.kind}.arm", f"no arm {name!r}{hint}")
        return known[str(name)]

    def _pool(self, event: Event) -> NDArray[np.int64] | None:
        if event.kind != "mix":
            return None
        names = self.table.domain_names
        half = (len(names) + 1) // 2
        chosen: set[int] = set()
        for name in event.fields["domains"]:
            if name == "first-half":
                chosen |= set(range(half))
            elif name == "second-half":
                chosen |= set(range(half, len(names))) or {0}
            elif name in names:
                chosen.add(names.index(name))
            else:
                hint = nearest(str(name), names)
                raise BadDriftError(self.plan.name, "mix.domains", f"no domain {name!r}{hint}")
        return np.flatnonzero(np.isin(self.table.domain, list(chosen)))

    def survey(self) -> "Survey":
        """What every arm alone would have come to, and the row that each round asks."""
        sums = np.zeros((3, self.n_arms))
        order = []
        for block in self.blocks():
            order.append(block.rows)
            parts = (block.quality, block.cost_usd, block.latency_s)
            sums += np.stack([part.sum(axis=0) for part in parts])
        quality, cost_usd, latency_s = sums / self.rounds
        return Survey(np.concatenate(order), quality, cost_usd, latency_s)

    def blocks(self) -> Iterator[Block]:
        """The rounds in order, a few thousand at a time."""
        for start in range(0, self.rounds, BLOCK):
            yield self._block(start, min(start + BLOCK, self.rounds))

    def _block(self, start: int, stop: int) -> Block:
        rng = np.random.default_rng([self._seed, 2, start])
        rounds = np.arange(start, stop)
        # Every event gets its own draws whether it uses them or not: plans stay comparable.
        courses = [event.intensity(rounds) for event in self.plan.events]
        happens = [rng.random(len(rounds)) < course for course in courses]
        spare = [rng.random(len(rounds)) for _ in courses]
        rows = self._order[start:stop].copy()
        for pool, drawn, u in zip(self._pools, happens, spare, strict=True):
            if pool is not None and len(pool):
                rows = np.where(drawn, pool[(u * len(pool)).astype(np.int64)], rows)
        block = self._calm(start, rows)
        for i, event in enumerate(self.plan.events):
            hit = Hit(
                event,
                self._columns_of(i),
                courses[i],
                happens[i],
                spare[i],
                self._shift(i),
                self._other(i, rows),
            )
            CHANGES[event.kind](block, hit)
        np.clip(block.quality, 0.0, 1.0, out=block.quality)
        return block

    def _calm(self, start: int, rows: NDArray[np.int64]) -> Block:
        k, b, table = self.n_arms, len(rows), self.table
        return Block(
            start=start,
            rows=rows,
            quality=table.quality[rows, :k],
            cost_usd=table.cost_usd[rows, :k],
            latency_s=table.latency_s[rows, :k],
            tokens_in=table.tokens_in[rows, :k],
            tokens_out=table.tokens_out[rows, :k],
            price_in=np.tile(self._prices[0, :k], (b, 1)),
            price_out=np.tile(self._prices[1, :k], (b, 1)),
            failing=np.zeros((b, k), dtype=np.bool_),
            eligible=np.ones((b, k), dtype=np.bool_),
            model=np.tile(np.arange(k, dtype=np.int64), (b, 1)),
            digest=np.zeros((b, k), dtype=np.int64),
            judge_bias=np.zeros((b, k)),
            silent=np.zeros(b, dtype=np.bool_),
            poison=np.full((b, k), np.nan),
        )

    def _columns_of(self, i: int) -> slice:
        arm = self._arms[i]
        return slice(None) if arm is None else slice(arm, arm + 1)

    def _shift(self, i: int) -> float:
        event, arm = self.plan.events[i], self._arms[i]
        if "to" in event.fields and arm is not None:
            return float(event.fields["to"]) - float(self.table.quality[:, arm].mean())
        return float(event.fields.get("by", 0.0))

    def _other(self, i: int, rows: NDArray[np.int64]) -> Column | None:
        column, t = self._others[i], self.table
        if column is None:
            return None
        return Column(
            quality=t.quality[rows, column],
            cost_usd=t.cost_usd[rows, column],
            latency_s=t.latency_s[rows, column],
            tokens_in=t.tokens_in[rows, column],
            tokens_out=t.tokens_out[rows, column],
            price_in=float(self._prices[0, column]),
            price_out=float(self._prices[1, column]),
            model=column,
        )
