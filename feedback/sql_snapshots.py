"""Snapshots and the lead of the one learner, in Postgres."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Delete, Select, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from feedback.engine import Database, Held
from feedback.errors import FencedError, LogUnavailableError
from feedback.lines import Line
from feedback.log import Learned, Snapshot
from feedback.rows import snapshot_from
from feedback.sql_text import LATEST_VERSION, LEARNED
from feedback.tables import LEADER_LOCK, learner_state, snapshots

_SPARSE = 64


class SqlSnapshots:
    """Publishes and finds snapshots; decides who may publish.

    The lead is an advisory lock on a session of its own: Postgres gives it back when the learner
    dies, however it dies. The epoch fences off one that only seems dead and comes back later.

    Parameters
    ----------
    keep
        As many newest snapshots are kept, and every 64th of 64 times as many.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime], keep: int) -> None:
        self._database = database
        self._clock = clock
        self._keep = keep
        self._held: Held | None = None
        self._epoch = 0

    async def learned(self) -> Learned:
        """See `DecisionLog`."""

        async def work(line: Line) -> Learned:
            (state,) = await line.run(LEARNED, {"lock": LEADER_LOCK})
            return Learned(int(state["position"]), bool(state["led"]))

        return await self._database.swiftly(work)

    async def lead(self) -> int | None:
        """See `DecisionLog`."""
        if self._held is not None:
            return None
        epoch, held = await self._database.hold(_take_lead)
        if epoch is None:
            await held.release()
        else:
            self._held, self._epoch = held, epoch
        return epoch

    async def still_leads(self, epoch: int) -> bool:
        """See `DecisionLog`."""
        if self._held is None:
            return False
        try:
            found = await self._held.run(
                lambda connection: connection.execute(select(learner_state.c.epoch))
            )
        except LogUnavailableError:
            await self.aclose()
            return False
        return bool(found.scalar_one() == epoch)

    async def resign(self, epoch: int) -> None:
        """See `DecisionLog`."""
        if epoch == self._epoch:
            await self.aclose()

    async def aclose(self) -> None:
        """Give up the lead, if held, with its connection."""
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(LogUnavailableError):
                await held.release()

    async def publish(self, snapshot: Snapshot, *, epoch: int) -> None:
        """See `DecisionLog`."""

        async def work(connection: AsyncConnection) -> None:
            state = await connection.execute(select(learner_state.c.epoch).with_for_update())
            current = int(state.scalar_one())
            if current != epoch:
                raise FencedError(epoch, current)
            new = insert(snapshots).returning(snapshots.c.seq)
            seq = (await connection.execute(new, self._row(snapshot, epoch))).scalar_one()
            await connection.execute(
                update(learner_state).values(position=snapshot.position, version=snapshot.version)
            )
            await connection.execute(self._outdated(int(seq)))

        await self._database.transact(work, again=False)

    async def latest(self) -> Snapshot | None:
        """See `DecisionLog.latest_snapshot`."""
        return await self._one(select(snapshots).order_by(snapshots.c.seq.desc()).limit(1))

    async def latest_version(self) -> str | None:
        """See `DecisionLog`."""

        async def work(line: Line) -> str | None:
            (state,) = await line.run(LATEST_VERSION)
            version: str | None = state["version"]
            return version

        return await self._database.swiftly(work)

    async def get(self, version: str) -> Snapshot | None:
        """See `DecisionLog.get_snapshot`."""
        return await self._one(select(snapshots).where(snapshots.c.version == version))

    async def before(self, position: int, limit: int) -> Sequence[Snapshot]:
        """See `DecisionLog.snapshots_before`."""
        statement = (
            select(snapshots)
            .where(snapshots.c.position < position)
            .order_by(snapshots.c.position.desc(), snapshots.c.seq.desc())
            .limit(limit)
        )

        async def work(connection: AsyncConnection) -> Sequence[Snapshot]:
            found = await connection.execute(statement)
            return [snapshot_from(row) for row in found.mappings()]

        return await self._database.transact(work)

    async def _one(self, statement: Select[Any]) -> Snapshot | None:
        async def work(connection: AsyncConnection) -> Snapshot | None:
            row = (await connection.execute(statement)).mappings().first()
            return None if row is None else snapshot_from(row)

        return await self._database.transact(work)

    def _row(self, snapshot: Snapshot, epoch: int) -> dict[str, object]:
        return {
            "version": snapshot.version,
            "position": snapshot.position,
            "manifest": dict(snapshot.manifest),
            "blob": snapshot.blob,
            "epoch": epoch,
            "created_at": snapshot.created_at or self._clock(),
        }

    def _outdated(self, seq: int) -> Delete:
        sparse = func.mod(snapshots.c.seq, _SPARSE) == 0
        recent = snapshots.c.seq > seq - self._keep * _SPARSE
        return delete(snapshots).where(snapshots.c.seq <= seq - self._keep, ~(sparse & recent))


async def _take_lead(connection: AsyncConnection) -> int | None:
    taken = await connection.execute(
        text("SELECT pg_try_advisory_lock(:key)"), {"key": LEADER_LOCK}
    )
    if not taken.scalar_one():
        return None
    epoch = await connection.execute(
        update(learner_state)
        .values(epoch=learner_state.c.epoch + 1)
        .returning(learner_state.c.epoch)
    )
    return int(epoch.scalar_one())
