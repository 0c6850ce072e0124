"""A decision log in memory: the fake that ships beside the real one, for simulation and tests."""

import threading
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter

from feedback.errors import (
    FencedError,
    IdempotencyConflictError,
    OutcomeConflictError,
    UnknownDecisionError,
)
from feedback.log import (
    DecisionRecord,
    EventKind,
    FeedbackReceipt,
    Learned,
    LogEvent,
    LoggedDecision,
    Snapshot,
)
from feedback.memory_alarms import MemoryAlarmBook
from feedback.memory_judge_book import MemoryJudgeBook
from feedback.outcome import Feedback, Outcome
from feedback.receipts import COUNTED_OVER, DecisionFacts, Standing, judge
from feedback.reward import check, check_outcome
from feedback.rows import same_outcome, utc_now


@dataclass(slots=True)
class _Entry:
    logged: LoggedDecision
    outcome: Outcome | None = None
    outcome_position: int | None = None
    rows: list[tuple[int, Feedback]] = field(default_factory=list)
    applied: list[tuple[int, Feedback]] = field(default_factory=list)
    spoken: set[tuple[str, str]] = field(default_factory=set)
    closed: bool = False

    def facts(self) -> DecisionFacts:
        decision = self.logged.decision
        return DecisionFacts(
            self.logged.key_id,
            decision.decided_at,
            decision.forced,
            decision.context.features_ok,
            self.closed,
        )

    def previous(self, row: Feedback) -> Feedback | None:
        same = (
            old
            for _, old in reversed(self.rows)
            if (old.metric, old.source) == (row.metric, row.source)
        )
        return next(same, None)


@dataclass(frozen=True, slots=True)
class _Happening:
    position: int
    kind: EventKind
    decision_id: str


class MemoryDecisionLog:
    """`DecisionLog` that forgets everything at exit; threads may share one.

    Parameters
    ----------
    clock
        Gives the time, in UTC.
    reward_window_s
        Seconds after the decision during which feedback still teaches.
    max_votes_per_source_hour
        Votes of one source that count in an hour; None is any number.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        reward_window_s: float = 7 * 86400.0,
        max_votes_per_source_hour: int | None = None,
    ) -> None:
        self._clock = clock
        self._max_votes = max_votes_per_source_hour
        self._counted: list[tuple[datetime, str, str]] = []
        self._reward_window_s = reward_window_s
        self._entries: dict[str, _Entry] = {}
        self._unclosed: dict[str, None] = {}
        self._happenings: list[_Happening] = []
        self._position = 0
        self._receipts: dict[tuple[str, str], tuple[str, list[FeedbackReceipt]]] = {}
        self._snapshots: list[Snapshot] = []
        self._epoch = 0
        self._led = False
        self._lock = threading.RLock()
        self.alarms = MemoryAlarmBook(clock=clock)
        self.judges = MemoryJudgeBook(self._everything)

    async def add_decisions(self, decisions: Sequence[LoggedDecision]) -> None:
        """See `DecisionLog`."""
        with self._lock:
            for logged in decisions:
                decision_id = logged.decision.decision_id
                if decision_id not in self._entries:
                    self._entries[decision_id] = _Entry(logged)
                    self._unclosed[decision_id] = None

    async def add_outcome(self, outcome: Outcome, *, key_id: str | None = None) -> bool:
        """See `DecisionLog`."""
        check_outcome(outcome)
        with self._lock:
            entry = self._entry(outcome.decision_id, key_id)
            if entry.outcome is not None:
                if not same_outcome(entry.outcome, outcome):
                    raise OutcomeConflictError(outcome.decision_id)
                return False
            entry.outcome = outcome if outcome.at else replace(outcome, at=self._clock())
            entry.outcome_position = self._happened("outcome", outcome.decision_id)
            return True

    async def add_outcomes(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """See `DecisionLog`."""
        with self._lock:
            added = []
            for outcome in outcomes:
                try:
                    added.append(await self.add_outcome(outcome))
                except (UnknownDecisionError, OutcomeConflictError):
                    added.append(False)
            return added

    async def add_feedback(
        self,
        feedback: Sequence[Feedback],
        *,
        key_id: str | None = None,
        idempotency: tuple[str, str] | None = None,
        own: bool = False,
    ) -> list[FeedbackReceipt]:
        """See `DecisionLog`."""
        for row in feedback:
            check(row)
        with self._lock:
            known = None if idempotency is None else (key_id or "", idempotency[0])
            if known is not None and idempotency is not None and known in self._receipts:
                body, receipts = self._receipts[known]
                if body != idempotency[1]:
                    raise IdempotencyConflictError(idempotency[0])
                return list(receipts)
            entries = self._known([row.decision_id for row in feedback], key_id)
            receipts = [
                self._add(row, entries[row.decision_id], key_id or "", own=own) for row in feedback
            ]
            if known is not None and idempotency is not None:
                self._receipts[known] = (idempotency[1], receipts)
            return list(receipts)

    def _add(self, row: Feedback, entry: _Entry, key_id: str, *, own: bool) -> FeedbackReceipt:
        now = self._clock()
        counts = (row.metric, row.source) in entry.spoken
        full = not own and self._full(key_id, row.source, now)
        verdict = judge(
            row,
            entry.facts(),
            Standing(entry.previous(row), counts, full),
            now=now,
            reward_window_s=self._reward_window_s,
        )
        if not verdict.store:
            return verdict.receipt(row, None)
        stored = row if row.at else replace(row, at=now)
        if verdict.reason is None:
            position = self._happened("feedback", row.decision_id)
            entry.applied.append((position, stored))
            entry.spoken.add((row.metric, row.source))
            if self._max_votes is not None and row.value is not None and not counts:
                self._counted.append((now, key_id, row.source))
            self._unclosed.pop(row.decision_id, None)
        else:
            self._position += 1
            position = self._position
        entry.rows.append((position, stored))
        return verdict.receipt(row, position)

    def _full(self, key_id: str, source: str, now: datetime) -> bool:
        if self._max_votes is None:
            return False
        recent = [who for at, *who in self._counted if at > now - COUNTED_OVER]
        return recent.count([key_id, source]) >= self._max_votes

    async def get(self, decision_id: str, *, key_id: str | None = None) -> DecisionRecord:
        """See `DecisionLog`."""
        with self._lock:
            entry = self._entry(decision_id, key_id)
            return DecisionRecord(entry.logged, entry.outcome, tuple(r for _, r in entry.rows))

    async def read(self, after: int, limit: int, *, until: int | None = None) -> Sequence[LogEvent]:
        """See `DecisionLog`."""
        with self._lock:
            start = bisect_right(self._happenings, after, key=attrgetter("position"))
            chosen = self._happenings[start : start + limit]
            return [self._event(item) for item in chosen if until is None or item.position <= until]

    async def close_windows(self, before: datetime, limit: int) -> int:
        """See `DecisionLog`."""
        with self._lock:
            old = [
                decision_id
                for decision_id in self._unclosed
                if (entry := self._entries[decision_id]).outcome is not None
                and not entry.applied
                and entry.logged.decision.decided_at < before
            ][:limit]
            for decision_id in old:
                del self._unclosed[decision_id]
                self._entries[decision_id].closed = True
                self._happened("default", decision_id)
            return len(old)

    async def last_position(self) -> int:
        """See `DecisionLog`."""
        with self._lock:
            return self._happenings[-1].position if self._happenings else 0

    async def learned(self) -> Learned:
        """See `DecisionLog`."""
        with self._lock:
            return Learned(self._snapshots[-1].position if self._snapshots else 0, self._led)

    async def lead(self) -> int | None:
        """See `DecisionLog`."""
        with self._lock:
            if self._led:
                return None
            self._led = True
            self._epoch += 1
            return self._epoch

    async def still_leads(self, epoch: int) -> bool:
        """See `DecisionLog`."""
        return self._led and epoch == self._epoch

    async def resign(self, epoch: int) -> None:
        """See `DecisionLog`."""
        with self._lock:
            self._led = self._led and epoch != self._epoch

    async def publish(self, snapshot: Snapshot, *, epoch: int) -> None:
        """See `DecisionLog`."""
        with self._lock:
            if epoch != self._epoch:
                raise FencedError(epoch, self._epoch)
            made = snapshot if snapshot.created_at else replace(snapshot, created_at=self._clock())
            self._snapshots.append(made)

    async def latest_snapshot(self) -> Snapshot | None:
        """See `DecisionLog`."""
        return self._snapshots[-1] if self._snapshots else None

    async def latest_version(self) -> str | None:
        """See `DecisionLog`."""
        return self._snapshots[-1].version if self._snapshots else None

    async def get_snapshot(self, version: str) -> Snapshot | None:
        """See `DecisionLog`."""
        return next((s for s in self._snapshots if s.version == version), None)

    async def snapshots_before(self, position: int, limit: int) -> Sequence[Snapshot]:
        """See `DecisionLog`."""
        before: list[Snapshot] = []
        for snapshot in self._snapshots:
            if snapshot.position < position:
                insort(before, snapshot, key=attrgetter("position"))
        return before[::-1][:limit]

    async def aclose(self) -> None:
        """See `DecisionLog`."""

    def _everything(self) -> Sequence[tuple[LoggedDecision, Sequence[Feedback]]]:
        with self._lock:
            return [
                (entry.logged, [row for _, row in entry.rows]) for entry in self._entries.values()
            ]

    def _entry(self, decision_id: str, key_id: str | None) -> _Entry:
        return self._known([decision_id], key_id)[decision_id]

    def _known(self, ids: Sequence[str], key_id: str | None) -> dict[str, _Entry]:
        found = {
            id_: entry
            for id_ in ids
            if (entry := self._entries.get(id_)) and key_id in (None, entry.logged.key_id)
        }
        unknown = [id_ for id_ in dict.fromkeys(ids) if id_ not in found]
        if unknown:
            raise UnknownDecisionError(*unknown)
        return found

    def _happened(self, kind: EventKind, decision_id: str) -> int:
        self._position += 1
        self._happenings.append(_Happening(self._position, kind, decision_id))
        return self._position

    def _event(self, item: _Happening) -> LogEvent:
        entry = self._entries[item.decision_id]
        return LogEvent(
            item.position,
            item.kind,
            entry.logged,
            entry.outcome,
            entry.outcome_position,
            tuple(entry.applied),
        )
