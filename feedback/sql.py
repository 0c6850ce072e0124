"""The decision log in Postgres."""

from collections.abc import Callable, Sequence
from datetime import datetime

from feedback import sql_text
from feedback.engine import Database, LogConfig
from feedback.errors import OutcomeConflictError
from feedback.grouping import Grouped
from feedback.lines import Line
from feedback.log import (
    DecisionRecord,
    FeedbackReceipt,
    Learned,
    LogEvent,
    LoggedDecision,
    Snapshot,
)
from feedback.outcome import Feedback, Outcome
from feedback.reward import check, check_outcome
from feedback.rows import (
    Row,
    decision_row,
    feedback_from,
    logged_decision,
    outcome_row,
    rows_json,
    same_outcome,
    utc_now,
)
from feedback.sql_alarms import SqlAlarmBook
from feedback.sql_feedback import FeedbackWork, Submission
from feedback.sql_judge_book import SqlJudgeBook
from feedback.sql_queries import (
    allowed,
    applied_rows,
    decisions_of,
    facts_of,
    happened,
    insert_outcomes,
    next_positions,
    outcomes_of,
    storable,
)
from feedback.sql_snapshots import SqlSnapshots

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
        self.alarms = SqlAlarmBook(self._database, clock=clock)
        self.judges = SqlJudgeBook(self._database)

    async def add_decisions(self, decisions_: Sequence[LoggedDecision]) -> None:
        """See `DecisionLog`."""
        if not decisions_:
            return
        rows = rows_json([decision_row(logged) for logged in decisions_])

        async def work(line: Line) -> None:
            await line.run(sql_text.INSERT_DECISIONS, {"rows": rows})

        await self._database.swiftly(work)

    async def add_outcome(self, outcome: Outcome, *, key_id: str | None = None) -> bool:
        """See `DecisionLog`."""
        check_outcome(outcome)
        if key_id is None and await self._outcome_group.submit(outcome):
            return True

        async def work(line: Line) -> bool:
            id_ = outcome.decision_id
            allowed(await facts_of(line, [id_]), [id_], key_id)
            if await insert_outcomes(line, self._outcome_rows([outcome])):
                return True
            old = await outcomes_of(line, [id_])
            if not same_outcome(old[id_][1], outcome):
                raise OutcomeConflictError(id_)
            return False

        return await self._database.swiftly(work)

    async def add_outcomes(self, outcomes_: Sequence[Outcome]) -> list[bool]:
        """See `DecisionLog`."""
        for outcome in outcomes_:
            check_outcome(outcome)
        if not outcomes_:
            return []
        first = {outcome.decision_id: outcome for outcome in reversed(outcomes_)}
        rows = self._outcome_rows([o for o in outcomes_ if first[o.decision_id] is o])
        new = await self._database.swiftly(lambda line: insert_outcomes(line, rows))
        return [o.decision_id in new and first[o.decision_id] is o for o in outcomes_]

    async def add_feedback(
        self,
        feedback_: Sequence[Feedback],
        *,
        key_id: str | None = None,
        idempotency: tuple[str, str] | None = None,
        own: bool = False,
    ) -> list[FeedbackReceipt]:
        """See `DecisionLog`."""
        for row in feedback_:
            check(row)

        key, body = (None, "") if idempotency is None else idempotency
        submission = Submission(feedback_, key_id, key, body, own)
        return await self._feedback_group.submit(submission)

    async def get(self, decision_id: str, *, key_id: str | None = None) -> DecisionRecord:
        """See `DecisionLog`."""

        async def work(line: Line) -> DecisionRecord:
            allowed(await facts_of(line, [decision_id]), [decision_id], key_id)
            ids = storable([decision_id])
            (decision,) = await line.run(sql_text.DECISIONS, ids)
            outcome = (await outcomes_of(line, [decision_id])).get(decision_id)
            rows = await line.run(sql_text.FEEDBACK, ids)
            return DecisionRecord(
                logged_decision(decision),
                None if outcome is None else outcome[1],
                tuple(feedback_from(row) for row in rows),
            )

        return await self._database.swiftly(work)

    async def read(self, after: int, limit: int, *, until: int | None = None) -> Sequence[LogEvent]:
        """See `DecisionLog`."""

        async def work(line: Line) -> Sequence[LogEvent]:
            events = await happened(line, after, limit, until)
            if not events:
                return []
            ids = {decision_id for _, _, decision_id in events}
            logged = await decisions_of(line, ids)
            outcome = await outcomes_of(line, ids)
            rows = await applied_rows(line, ids)
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

        return await self._database.swiftly(work)

    async def close_windows(self, before: datetime, limit: int) -> int:
        """See `DecisionLog`."""
        asked = {"before": before, "limit": limit}

        async def work(line: Line) -> int:
            if not await line.run(sql_text.UNJUDGED, {**asked, "limit": 1}):
                return 0
            async with line.transaction():
                positions = await next_positions(line, limit)
                silent = await line.run(sql_text.UNJUDGED, asked)
                rows = [{**row, "position": at} for row, at in zip(silent, positions, strict=False)]
                await line.run(sql_text.INSERT_DEFAULTS, {"rows": rows_json(rows)})
            return len(rows)

        return await self._database.swiftly(work)

    async def last_position(self) -> int:
        """See `DecisionLog`."""

        async def work(line: Line) -> int:
            (newest,) = await line.run(sql_text.LAST_POSITION)
            return int(newest["position"])

        return await self._database.swiftly(work)

    async def learned(self) -> Learned:
        """See `DecisionLog`."""
        return await self._snapshots.learned()

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

    def _outcome_rows(self, new: Sequence[Outcome]) -> Sequence[Row]:
        """Rows with their order in the place of a position."""
        now = self._clock()
        return [outcome_row(outcome, position=i, now=now) for i, outcome in enumerate(new)]

    async def _take_feedback(
        self, submissions: Sequence[Submission]
    ) -> Sequence[list[FeedbackReceipt] | Exception]:
        config = self._config
        work = FeedbackWork(
            submissions, self._clock, config.reward_window_s, config.max_votes_per_source_hour
        )
        # Repeating is safe with keys; without one it could call a new vote a duplicate.
        again = all(submission.key is not None for submission in submissions)
        return await self._database.swiftly(work, again=again)
