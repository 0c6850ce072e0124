"""Feedback into Postgres: many callers' votes in one transaction, each with its own receipts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from feedback import sql_text
from feedback.errors import FeedbackError, IdempotencyConflictError
from feedback.lines import Line
from feedback.log import FeedbackReceipt
from feedback.outcome import Feedback
from feedback.receipts import DecisionFacts, Standing, judge, receipt_to_dict
from feedback.rows import feedback_row, rows_json
from feedback.sql_queries import (
    allowed,
    counted_votes,
    earlier_receipts,
    facts_of,
    next_positions,
    standings,
)


@dataclass(frozen=True, slots=True)
class Submission:
    """One caller's feedback; ``key`` and ``body`` are its Idempotency-Key and SHA-256, if any.

    ``own`` is said by this service itself.
    """

    rows: Sequence[Feedback]
    key_id: str | None
    key: str | None = None
    body: str = ""
    own: bool = False

    @property
    def remembered_as(self) -> tuple[str, str]:
        """Under what its receipts are kept."""
        return self.key_id or "", self.key or ""


@dataclass(slots=True)
class FeedbackWork:
    """The work of one transaction, on several submissions, in their order.

    A submission that is refused leaves no trace; the others go on.
    """

    submissions: Sequence[Submission]
    clock: Callable[[], datetime]
    reward_window_s: float
    max_votes_per_source_hour: int | None = None
    _facts: Mapping[str, DecisionFacts] = field(init=False)
    _standing: dict[tuple[str, str, str], Standing] = field(init=False)
    _votes: dict[tuple[str, str], int] = field(init=False)
    _earlier: dict[tuple[str, str], tuple[str, list[FeedbackReceipt]]] = field(init=False)
    _stored: list[dict[str, Any]] = field(init=False)
    _remembered: list[dict[str, Any]] = field(init=False)

    async def __call__(self, line: Line) -> list[list[FeedbackReceipt] | Exception]:
        """Receipts of each submission, or why it is refused."""
        async with line.transaction():
            return await self._work(line)

    async def _work(self, line: Line) -> list[list[FeedbackReceipt] | Exception]:
        rows = [row for submission in self.submissions for row in submission.rows]
        keys = [one.remembered_as for one in self.submissions if one.key is not None]
        # First, because from here on nobody else appends: what is read next stays true.
        positions = iter(await next_positions(line, len(rows)))
        self._facts = await facts_of(line, [row.decision_id for row in rows])
        self._standing, self._votes = await standings(line, rows), {}
        if self.max_votes_per_source_hour is not None:
            self._votes = await counted_votes(line, rows, now=self.clock())
        self._earlier = await earlier_receipts(line, keys) if keys else {}
        self._stored, self._remembered = [], []
        results: list[list[FeedbackReceipt] | Exception] = []
        for submission in self.submissions:
            own = [next(positions) for _ in submission.rows]
            try:
                results.append(self._take(submission, own))
            except FeedbackError as error:
                results.append(error)
        if self._stored:
            await line.run(sql_text.INSERT_FEEDBACK, {"rows": rows_json(self._stored)})
        if self._remembered:
            await line.run(sql_text.INSERT_IDEMPOTENCY, {"rows": rows_json(self._remembered)})
        return results

    def _take(self, submission: Submission, positions: Sequence[int]) -> list[FeedbackReceipt]:
        if submission.key is not None and submission.remembered_as in self._earlier:
            body, receipts = self._earlier[submission.remembered_as]
            if body != submission.body:
                raise IdempotencyConflictError(submission.key)
            return receipts
        allowed(self._facts, (row.decision_id for row in submission.rows), submission.key_id)
        now = self.clock()
        receipts = [
            self._judge(row, submission, position=position, now=now)
            for row, position in zip(submission.rows, positions, strict=True)
        ]
        if submission.key is not None:
            self._remember(submission, receipts, now)
        return receipts

    def _judge(
        self, row: Feedback, submission: Submission, *, position: int, now: datetime
    ) -> FeedbackReceipt:
        same = (row.decision_id, row.metric, row.source)
        standing = self._standing.get(same, Standing())
        verdict = judge(
            row,
            self._facts[row.decision_id],
            replace(standing, full=self._full(row, submission)),
            now=now,
            reward_window_s=self.reward_window_s,
        )
        if not verdict.store:
            return verdict.receipt(row, None)
        key_id = submission.key_id or ""
        if verdict.reason is None and row.value is not None and not standing.counts:
            voter = (key_id, row.source)
            self._votes[voter] = self._votes.get(voter, 0) + 1
        self._standing[same] = Standing(row, standing.counts or verdict.reason is None)
        self._stored.append(
            feedback_row(row, position=position, now=now, key_id=key_id, reason=verdict.reason)
        )
        return verdict.receipt(row, position)

    def _full(self, row: Feedback, submission: Submission) -> bool:
        most = self.max_votes_per_source_hour
        if most is None or submission.own:
            return False
        return self._votes.get((submission.key_id or "", row.source), 0) >= most

    def _remember(
        self, submission: Submission, receipts: list[FeedbackReceipt], now: datetime
    ) -> None:
        key_id, key = submission.remembered_as
        self._earlier[key_id, key] = (submission.body, receipts)
        self._remembered.append(
            {
                "key_id": key_id,
                "key": key,
                "body_sha256": submission.body,
                "receipts": [receipt_to_dict(receipt) for receipt in receipts],
                "at": now,
            }
        )
