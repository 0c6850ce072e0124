"""Judging from the log: for a judge in a process of its own, where texts are stored."""

import asyncio

from features.query import Query
from feedback.errors import LogUnavailableError
from feedback.log import DecisionLog, LogEvent
from serving.judge_jobs import Job, is_judgeable
from serving.judging import JudgeWorker

_BATCH = 100
_POLL_S = 0.5


async def judge_log(log: DecisionLog, worker: JudgeWorker) -> None:
    """Offer every new answer of the sample to ``worker``, until cancelled.

    Begins with what comes next; a worker without room is waited for.
    """
    position: int | None = None
    while True:
        try:
            position = await log.last_position() if position is None else position
            events = await log.read(position, _BATCH)
        except LogUnavailableError:
            await asyncio.sleep(_POLL_S)
            continue
        for event in events:
            job = job_of(event)
            if job is not None and worker.wants(job.decision):
                await worker.offer_in_turn(job)
            position = event.position
        if len(events) < _BATCH:
            await asyncio.sleep(_POLL_S)


def job_of(event: LogEvent) -> Job | None:
    """What there is to judge at ``event``: an answer with both texts that no judge has scored."""
    outcome, logged = event.outcome, event.logged
    if event.kind != "outcome" or outcome is None or not is_judgeable(logged.decision, outcome):
        return None
    if not logged.prompt or not outcome.answer:
        return None
    if any(row.metric == "judge" for _, row in event.feedback):
        return None
    message = {"role": "user", "content": logged.prompt}
    query = Query(
        [message],
        logged.decision.decided_at,
        {"messages": [message]},
        reference=logged.reference,
    )
    return Job(logged.decision, outcome, query, outcome.answer)
