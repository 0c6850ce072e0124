"""Judging in the background: a model scores a sample of answers, people check a sample of scores.

Nothing here is on the path of a query. What cannot be judged in time is dropped and counted; text
is kept in memory until it is judged, and no longer.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from numpy.random import Generator

from bandit.auditing import AuditConfig, AuditPlan
from bandit.policies.corrected import answering_arm, correction_of, expected_quality
from bandit.primitives import Decision
from features.query import Query
from feedback.errors import FeedbackError, LogUnavailableError
from feedback.judge import RUBRIC_VERSION, Case, Verdict, speaks_to_a_grader
from feedback.log import DecisionLog
from feedback.opinions import JUDGE_PREFIX
from feedback.outcome import Feedback
from serving.backends.base import Backend
from serving.deciding import Holder
from serving.errors import BackendError, BackendOverloadedError
from serving.judge_client import Bill, CapReachedError, JudgeClient, MalformedError
from serving.judge_jobs import Job, is_durable, is_private, share_of, text_of

_LOG = structlog.get_logger("pointsman")
_ATTEMPTS = 3
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class JudgingConfig:
    """Which answers are judged and which scores are checked.

    Attributes
    ----------
    sample_rate
        Share of answers in [0, 1].
    per_minute
        Most questions a minute.
    queue_limit
        Answers that may wait; more are dropped.
    concurrency
        Questions that are out at once.
    local
        The judge runs inside the boundary: it may see what privacy kept at the edge.
    audits
        Which scores are shown to people.
    probe_rate
        Share of judged queries that another arm answers too, unseen.
    keep_reasons
        Whether the judge's reason is stored; it may quote the answer.
    """

    sample_rate: float = 0.1
    per_minute: float = 30.0
    queue_limit: int = 100
    concurrency: int = 2
    local: bool = False
    audits: AuditConfig = field(default_factory=AuditConfig)
    probe_rate: float = 0.0
    keep_reasons: bool = False


class JudgeWorker:
    """Scores what it is offered. One event loop owns an instance.

    Parameters
    ----------
    backends
        What answers for each arm, for probes.
    rng
        For audits and probes.
    """

    def __init__(
        self,
        client: JudgeClient,
        log: DecisionLog,
        holder: Holder,
        config: JudgingConfig,
        *,
        backends: Mapping[str, Backend],
        rng: Generator,
        new_id: Callable[[], str],
        now: Callable[[], datetime],
        on_event: Callable[[str, float], None] | None = None,
    ) -> None:
        self._client = client
        self._log = log
        self._holder = holder
        self._config = config
        self._backends = backends
        self._rng = rng
        self._new_id = new_id
        self._now = now
        self._on_event = on_event
        self._queue: asyncio.Queue[Job] = asyncio.Queue(config.queue_limit)
        self._next_at = 0.0
        self.source = JUDGE_PREFIX + client.model
        self.counts: Counter[str] = Counter()
        self.error: str | None = None

    # -- what is offered --------------------------------------------------------------------------

    def wants(self, decision: Decision) -> bool:
        """Whether an answer to this decision is in the sample, and may be judged at all."""
        if decision.forced or not decision.context.features_ok:
            return False
        if not self._config.local and is_private(decision):
            return False
        return share_of(decision.decision_id) < self._config.sample_rate

    def offer(self, job: Job) -> None:
        """Have an answer judged soon, if there is room."""
        if self._queue.full():
            self._count("dropped")
            return
        self._queue.put_nowait(job)

    async def offer_in_turn(self, job: Job) -> None:
        """Have an answer judged, once there is room."""
        await self._queue.put(job)

    def status(self) -> dict[str, Any]:
        """How judging goes, as plain data."""
        return {
            "source": self.source,
            "rubric": RUBRIC_VERSION,
            "stand_in": self._client.stand_in,
            "waiting": self._queue.qsize(),
            "counts": dict(self.counts),
            "cap_usd_per_day": self._client.cap_usd,
            "error": self.error,
        }

    # -- judging ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Judge until cancelled; survives everything but that."""
        workers = [asyncio.create_task(self._work()) for _ in range(self._config.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self._survive(job)
            finally:
                self._queue.task_done()

    async def _survive(self, job: Job) -> None:
        try:
            await self._judge(job)
        except CapReachedError as error:
            self._fail("capped", error)
        except BackendError as error:
            self._fail("failed", error)
        except FeedbackError as error:
            self._fail("unstored", error)
        except Exception as error:  # noqa: BLE001 - one answer must not end judging for good
            _LOG.exception("an answer cannot be judged")
            self._fail("failed", error)

    async def _judge(self, job: Job) -> None:
        if not await is_durable(job):
            self._count("unlogged")
            return
        try:
            verdict, bill = await self._score(job.query, job.answer)
        except MalformedError as error:
            await self._mark_malformed(job, error)
            self._count("malformed", error.bill.usd)
            return
        tags = {
            "sampled": f"{self._config.sample_rate:g}",
            "rubric": RUBRIC_VERSION,
            "cost_usd": repr(bill.usd),
        }
        tags |= {"reference": "given"} if job.query.reference is not None else {}
        suspect = speaks_to_a_grader(job.answer)
        tags |= {"suspect": "1"} if suspect else {}
        tags |= self._audit(job, verdict, suspect=suspect)
        tags |= await self._probe(job)
        comment = verdict.reason if self._config.keep_reasons else None
        await self._store(job, verdict.score, comment, tags)
        self._count("scored", bill.usd)
        self.error = None

    async def _score(self, query: Query, answer: str) -> tuple[Verdict, Bill]:
        for attempt in range(1, _ATTEMPTS + 1):
            await self._turn()
            try:
                return await self._client.score(Case(text_of(query), answer, query.reference))
            except BackendOverloadedError as error:
                if attempt == _ATTEMPTS:
                    raise
                self._count("throttled")
                wait_s = error.retry_after_s or _PAUSE_S
                self._next_at = max(self._next_at, _clock() + wait_s)
        raise AssertionError

    async def _turn(self) -> None:
        """Wait until the rate allows the next question."""
        at = max(self._next_at, _clock())
        self._next_at = at + 60.0 / self._config.per_minute
        await asyncio.sleep(at - _clock())

    def _audit(self, job: Job, verdict: Verdict, *, suspect: bool) -> dict[str, str]:
        corrected = correction_of(self._holder.current)
        p = (corrected.plan if corrected else AuditPlan()).probability(
            self._config.audits,
            self.source,
            answering_arm(job.decision.arm, job.outcome.gating),
            score=verdict.score,
            expected=expected_quality(job.decision),
        )
        if suspect and p:
            p = 1.0
        if p <= 0.0:
            return {}
        drawn = bool(self._rng.random() < p)
        self._count("drawn_for_audit" if drawn else "not_drawn")
        return {"audit_probability": repr(p)} | ({"audit": "drawn"} if drawn else {})

    async def _probe(self, job: Job) -> dict[str, str]:
        """Have another arm answer too, unseen, and score that; what came of it, as tags."""
        others = [
            arm.arm_id
            for arm in job.decision.arms
            if arm.arm_id != job.decision.arm and arm.tier != "cascade"
        ]
        if not others or not self._rng.random() < self._config.probe_rate:
            return {}
        arm = others[int(self._rng.integers(len(others)))]
        try:
            answer, usd = await self._client.answer(self._backends[arm], job.decision, job.query)
            verdict, bill = await self._score(job.query, answer)
        except (BackendError, CapReachedError, MalformedError) as error:
            self._fail("probe_failed", error)
            return {}
        self._count("probed", usd + bill.usd)
        return {
            "probe_arm": arm,
            "probe_score": repr(verdict.score),
            "probe_rate": repr(self._config.probe_rate / len(others)),
            "probe_cost_usd": repr(usd + bill.usd),
        }

    async def _mark_malformed(self, job: Job, error: MalformedError) -> None:
        tags = {"verdict": "malformed", "rubric": RUBRIC_VERSION, "cost_usd": repr(error.bill.usd)}
        await self._store(job, None, f"malformed verdict: {error.why}", tags)

    async def _store(
        self, job: Job, score: float | None, comment: str | None, tags: Mapping[str, str]
    ) -> None:
        row = Feedback(
            f"fb_{self._new_id()}",
            job.decision.decision_id,
            "comment" if score is None else "judge",
            score,
            self.source,
            comment,
            tags,
            at=self._now(),
        )
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._log.add_feedback([row], own=True)
            except LogUnavailableError:
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    def _fail(self, what: str, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {error}"[:300]
        self._count(what)

    def _count(self, what: str, usd: float = 0.0) -> None:
        self.counts[what] += 1
        if self._on_event is not None:
            self._on_event(what, usd)


def _clock() -> float:
    return asyncio.get_running_loop().time()
