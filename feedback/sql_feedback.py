"""Feedback into Postgres: many callers' votes in one transaction, each with its own receipts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from feedback import sql_text
from feedback.errors import FeedbackError, IdempotencyConflictError
from feedback.lines import Line
from feedback.log import FeedbackReceipt
from feedback.outcome import Feedback
from feedback.receipts import DecisionFacts, judge, receipt_to_dict
from feedback.rows import feedback_row, rows_json
from feedback.sql_queries import (
    allowed,
    earlier_receipts,
    facts_of,
    newest_rows,
    next_positions,
)


@dataclass(frozen=True, slots=True)
class Submission:
    """One caller's feedback; ``key`` and ``body`` are its Idempotency-Key and SHA-256, if any."""

    rows: Sequence[Feedback]
    key_id: str | None
    key: str | None = None
    body: str = ""

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
    _facts: Mapping[str, DecisionFacts] = field(init=False)
    _newest: dict[tuple[str, str, str], Feedback] = field(init=False)
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
        self._newest = await newest_rows(line, rows)
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
        verdict = judge(
            row,
            self._facts[row.decision_id],
            self._newest.get(same),
            now=now,
            reward_window_s=self.reward_window_s,
        )
        if not verdict.store:
            return verdict.receipt(row, None)
        self._newest[same] = row
        key_id = submission.key_id or ""
        self._stored.append(
            feedback_row(row, position=position, now=now, key_id=key_id, reason=verdict.reason)
        )
        return verdict.receipt(row, position)

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
