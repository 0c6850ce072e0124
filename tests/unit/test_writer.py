"""Decisions are written in groups, and every caller is told the truth."""

import asyncio

from feedback.errors import LogUnavailableError
from feedback.memory import MemoryDecisionLog
from feedback.writer import DecisionWriter
from tests.makers import logged


class Slow(MemoryDecisionLog):
    """Commits when it is let, and remembers the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()
        self.sizes = []
        self.refuse = frozenset()
        self.away = False

    async def add_decisions(self, decisions):
        self.sizes.append(len(decisions))
        await self.go.wait()
        if self.away:
            raise LogUnavailableError("away")
        if self.refuse & {one.decision.decision_id for one in decisions}:
            raise ValueError("refused")
        await super().add_decisions(decisions)


def ids(n):
    return [logged(f"d{i}") for i in range(n)]


async def test_who_comes_during_a_commit_shares_the_next_one():
    log = Slow()
    writer = DecisionWriter(log, max_batch=4)
    calls = [asyncio.create_task(writer.add(one)) for one in ids(7)]
    await asyncio.sleep(0)
    log.go.set()
    assert all(await asyncio.gather(*calls))
    assert log.sizes == [4, 3]


async def test_a_lone_decision_waits_for_nobody():
    log = Slow()
    log.go.set()
    assert await DecisionWriter(log).add(logged("d"))
    assert log.sizes == [1]


async def test_a_caller_that_waited_too_long_is_told_so():
    log = Slow()
    writer = DecisionWriter(log, timeout_s=0.01)
    assert not await writer.add(logged("d"))
    log.go.set()
    await writer.aclose()


async def test_nobody_waits_long_for_a_log_in_which_another_waited_in_vain():
    log = Slow()
    writer = DecisionWriter(log, max_batch=1, timeout_s=60.0)
    writer._group._stuck = True
    assert not await asyncio.wait_for(writer.add(logged("d")), 30.0)
    log.go.set()
    await writer.aclose()


async def test_patience_returns_when_the_log_does():
    log = Slow()
    writer = DecisionWriter(log, timeout_s=0.01)
    assert not await writer.add(ids(1)[0])
    assert writer._group._stuck
    log.go.set()
    await writer.aclose()
    assert not writer._group._stuck


async def test_what_its_caller_gave_up_before_the_commit_is_not_stored():
    log = Slow()
    writer = DecisionWriter(log, max_batch=1, timeout_s=0.01)
    assert not any(await asyncio.gather(*(writer.add(one) for one in ids(2))))
    log.go.set()
    await writer.aclose()
    assert list(log._entries) == ["d0"]


async def test_a_log_that_is_away_is_said_at_once():
    log = Slow()
    log.away = True
    log.go.set()
    assert await DecisionWriter(log).add(logged("d")) is False


async def test_a_full_queue_turns_new_ones_away():
    log = Slow()
    writer = DecisionWriter(log, max_batch=1, max_waiting=2)
    calls = [asyncio.create_task(writer.add(one)) for one in ids(4)]
    await asyncio.sleep(0)
    log.go.set()
    assert (await asyncio.gather(*calls)).count(True) == 2


async def test_one_row_that_is_refused_does_not_take_its_neighbours_along():
    log = Slow()
    log.refuse = frozenset({"d1"})
    log.go.set()
    writer = DecisionWriter(log)
    assert await asyncio.gather(*(writer.add(one) for one in ids(3))) == [True, False, True]


async def test_closing_writes_what_still_waits():
    log = Slow()
    writer = DecisionWriter(log, max_batch=1)
    calls = [asyncio.create_task(writer.add(one)) for one in ids(3)]
    await asyncio.sleep(0)
    log.go.set()
    await writer.aclose()
    assert all(await asyncio.gather(*calls))
