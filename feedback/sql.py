"""The decision log in Postgres."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import exists, func, insert, select, union_all
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from feedback.engine import Database, LogConfig
from feedback.errors import OutcomeConflictError
from feedback.grouping import Grouped
from feedback.log import DecisionRecord, FeedbackReceipt, LogEvent, LoggedDecision, Snapshot
from feedback.outcome import Feedback, Outcome
from feedback.reward import check, check_outcome
from feedback.rows import (
    decision_row,
    feedback_from,
    logged_decision,
    outcome_row,
    same_outcome,
    utc_now,
)
from feedback.sql_feedback import FeedbackWork, Submission
from feedback.sql_queries import (
    allowed,
    among,
    applied_rows,
    decoded,
    facts_of,
    happened,
    next_positions,
    outcomes_of,
)
from feedback.sql_snapshots import SqlSnapshots
from feedback.tables import decisions, defaults, feedback, outcomes

_MAX_GROUP = 64


class SqlDecisionLog:
    """`DecisionLog` in Postgres. One event loop owns an instance.

    Parameters
    ----------
    dsn
        ``postgresql+psycopg://...`` of a database that `feedback.migrate.upgrade` has seen. A
        learner needs a direct one: a pooler that shares sessions would lose its advisory lock.
    clock
        Gives the time, in UTC.
    """

    def __init__(
        self,
        dsn: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        config: LogConfig | None = None,
    ) -> None:
        self._config = config or LogConfig()
        self._clock = clock
        self._database = Database(dsn, self._config)
        self._feedback_group = Grouped(
            self._take_feedback, max_items=_MAX_GROUP, timeout_s=self._config.timeout_s
        )
        self._outcome_group = Grouped(
            self.add_outcomes, max_items=_MAX_GROUP, timeout_s=self._config.timeout_s
        )
        self._snapshots = SqlSnapshots(
            self._database, clock=clock, keep=self._config.keep_snapshots
        )

    async def add_decisions(self, decisions_: Sequence[LoggedDecision]) -> None:
        """See `DecisionLog`."""
        if not decisions_:
            return
        rows = [decision_row(logged) for logged in decisions_]
        statement = upsert(decisions).on_conflict_do_nothing()

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement, rows)

        await self._database.transact(work)

    async def add_outcome(self, outcome: Outcome, *, key_id: str | None = None) -> bool:
        """See `DecisionLog`."""
        check_outcome(outcome)
        if key_id is None and await self._outcome_group.submit(outcome):
            return True

        async def work(connection: AsyncConnection) -> bool:
            id_ = outcome.decision_id
            allowed(await facts_of(connection, [id_]), id_, key_id)
            if await self._insert_outcomes(connection, [outcome]):
                return True
            old = await outcomes_of(connection, [id_])
            if not same_outcome(old[id_][1], outcome):
                raise OutcomeConflictError(id_)
            return False

        return await self._database.transact(work)

    async def add_outcomes(self, outcomes_: Sequence[Outcome]) -> list[bool]:
        """See `DecisionLog`."""
        for outcome in outcomes_:
            check_outcome(outcome)

        async def work(connection: AsyncConnection) -> list[bool]:
            ids = [outcome.decision_id for outcome in outcomes_]
            known = await connection.execute(
                select(decisions.c.decision_id).where(among(decisions.c.decision_id, ids))
            )
            there = {row.decision_id for row in known}
            first = {o.decision_id: o for o in reversed(outcomes_) if o.decision_id in there}
            new = await self._insert_outcomes(connection, list(reversed(first.values())))
            return [o.decision_id in new and first[o.decision_id] is o for o in outcomes_]

        return await self._database.transact(work) if outcomes_ else []

    async def add_feedback(
        self,
        feedback_: Sequence[Feedback],
        *,
        key_id: str | None = None,
        idempotency: tuple[str, str] | None = None,
    ) -> list[FeedbackReceipt]:
        """See `DecisionLog`."""
        for row in feedback_:
            check(row)

        if idempotency is None:
            submission = Submission(feedback_, key_id)
        else:
            submission = Submission(feedback_, key_id, *idempotency)
        return await self._feedback_group.submit(submission)

    async def get(self, decision_id: str, *, key_id: str | None = None) -> DecisionRecord:
        """See `DecisionLog`."""

        async def work(connection: AsyncConnection) -> DecisionRecord:
            allowed(await facts_of(connection, [decision_id]), decision_id, key_id)
            found = await connection.execute(
                select(decisions).where(decisions.c.decision_id == decision_id)
            )
            outcome = (await outcomes_of(connection, [decision_id])).get(decision_id)
            rows = await connection.execute(
                select(feedback)
                .where(feedback.c.decision_id == decision_id)
                .order_by(feedback.c.position)
            )
            return DecisionRecord(
                logged_decision(found.mappings().one()),
                None if outcome is None else outcome[1],
                tuple(feedback_from(row) for row in rows.mappings()),
            )

        return await self._database.transact(work)

    async def read(self, after: int, limit: int, *, until: int | None = None) -> Sequence[LogEvent]:
        """See `DecisionLog`."""

        async def work(connection: AsyncConnection) -> Sequence[LogEvent]:
            events = await happened(connection, after, limit, until)
            ids = {decision_id for _, _, decision_id in events}
            found = await connection.execute(
                select(decisions).where(among(decisions.c.decision_id, ids))
            )
            logged = dict(decoded(found.mappings()))
            outcome = await outcomes_of(connection, ids)
            rows = await applied_rows(connection, ids)
            return [
                LogEvent(
                    position,
                    kind,
                    logged[id_],
                    outcome[id_][1] if id_ in outcome else None,
                    outcome[id_][0] if id_ in outcome else None,
                    tuple(rows.get(id_, ())),
                )
                for position, kind, id_ in events
                if id_ in logged
            ]

        return await self._database.transact(work)

    async def close_windows(self, before: datetime, limit: int) -> int:
        """See `DecisionLog`."""
        judged = exists().where(
            feedback.c.decision_id == decisions.c.decision_id, feedback.c.will_apply
        )
        closed = exists().where(defaults.c.decision_id == decisions.c.decision_id)
        open_ = (
            select(decisions.c.decision_id)
            .join(outcomes, outcomes.c.decision_id == decisions.c.decision_id)
            .where(decisions.c.decided_at < before, ~judged, ~closed)
            .order_by(decisions.c.decided_at)
            .limit(limit)
        )

        async def work(connection: AsyncConnection) -> int:
            if (await connection.execute(open_.limit(1))).first() is None:
                return 0
            positions = await next_positions(connection, limit)
            ids = (await connection.execute(open_)).scalars().all()
            rows = [
                {"decision_id": id_, "position": at}
                for id_, at in zip(ids, positions, strict=False)
            ]
            if rows:
                await connection.execute(insert(defaults), rows)
            return len(rows)

        return await self._database.transact(work)

    async def last_position(self) -> int:
        """See `DecisionLog`."""
        newest = [
            select(func.max(outcomes.c.position).label("p")),
            select(func.max(feedback.c.position)).where(feedback.c.will_apply),
            select(func.max(defaults.c.position)),
        ]
        statement = select(func.coalesce(func.max(union_all(*newest).subquery().c.p), 0))

        async def work(connection: AsyncConnection) -> int:
            return int((await connection.execute(statement)).scalar_one())

        return await self._database.transact(work)

    async def lead(self) -> int | None:
        """See `DecisionLog`."""
        return await self._snapshots.lead()

    async def still_leads(self, epoch: int) -> bool:
        """See `DecisionLog`."""
        return await self._snapshots.still_leads(epoch)

    async def resign(self, epoch: int) -> None:
        """See `DecisionLog`."""
        await self._snapshots.resign(epoch)

    async def publish(self, snapshot: Snapshot, *, epoch: int) -> None:
        """See `DecisionLog`."""
        await self._snapshots.publish(snapshot, epoch=epoch)

    async def latest_snapshot(self) -> Snapshot | None:
        """See `DecisionLog`."""
        return await self._snapshots.latest()

    async def latest_version(self) -> str | None:
        """See `DecisionLog`."""
        return await self._snapshots.latest_version()

    async def get_snapshot(self, version: str) -> Snapshot | None:
        """See `DecisionLog`."""
        return await self._snapshots.get(version)

    async def snapshots_before(self, position: int, limit: int) -> Sequence[Snapshot]:
        """See `DecisionLog`."""
        return await self._snapshots.before(position, limit)

    async def aclose(self) -> None:
        """See `DecisionLog`."""
        await self._feedback_group.aclose()
        await self._outcome_group.aclose()
        await self._snapshots.aclose()
        await self._database.aclose()

    async def _insert_outcomes(
        self, connection: AsyncConnection, new: Sequence[Outcome]
    ) -> set[str]:
        if not new:
            return set()
        now = self._clock()
        positions = await next_positions(connection, len(new))
        rows = [
            outcome_row(outcome, position=position, now=now)
            for outcome, position in zip(new, positions, strict=True)
        ]
        statement = upsert(outcomes).on_conflict_do_nothing().returning(outcomes.c.decision_id)
        return set((await connection.execute(statement, rows)).scalars())

    async def _take_feedback(
        self, submissions: Sequence[Submission]
    ) -> Sequence[list[FeedbackReceipt] | Exception]:
        work = FeedbackWork(submissions, self._clock, self._config.reward_window_s)
        # Repeating is safe with keys; without one it could call a new vote a duplicate.
        again = all(submission.key is not None for submission in submissions)
        return await self._database.transact(work, again=again)
