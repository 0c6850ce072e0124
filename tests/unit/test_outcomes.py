"""Outcomes are written in groups, and wait while the database is away."""

import asyncio

from feedback.errors import BadFeedbackError, LogUnavailableError
from serving.outcomes import OutcomeWriter
from tests.makers import outcome


class ScriptedLog:
    """Takes batches; raises what the script says first."""

    def __init__(self, *errors, refuse=()):
        self.errors = list(errors)
        self.refuse = refuse
        self.batches = []

    async def add_outcomes(self, batch):
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        if any(one.decision_id in self.refuse for one in batch):
            raise BadFeedbackError("latency_s", "x", "a number")
        self.batches.append([one.decision_id for one in batch])


async def write(log, *ids, **options):
    writer = OutcomeWriter(log, gather_s=0.0, retry_s=0.001, **options)
    for name in ids:
        writer.put(outcome(name))
    await writer.aclose(timeout_s=10.0)
    return log.batches


async def test_outcomes_that_come_together_are_written_together():
    assert await write(ScriptedLog(), "a", "b", "c") == [["a", "b", "c"]]


async def test_a_batch_has_its_limit():
    assert await write(ScriptedLog(), "a", "b", "c", max_batch=2) == [["a", "b"], ["c"]]


async def test_outcomes_wait_until_the_log_is_back():
    away = LogUnavailableError("restarting")
    assert await write(ScriptedLog(away, away), "a", "b") == [["a", "b"]]


async def test_a_refused_row_does_not_take_its_neighbours_along():
    assert await write(ScriptedLog(refuse={"b"}), "a", "b", "c") == [["a"], ["c"]]


async def test_what_is_more_than_may_wait_is_dropped():
    assert await write(ScriptedLog(), "a", "b", "c", max_waiting=2) == [["a", "b"]]


async def test_closing_gives_up_after_a_while():
    forever = [LogUnavailableError("gone")] * 100_000
    writer = OutcomeWriter(ScriptedLog(*forever), gather_s=0.0, retry_s=0.001)
    writer.put(outcome("a"))
    await writer.aclose(timeout_s=0.02)
    assert writer._flusher.cancelling() == 1
