"""What every `AlarmBook` does, whether in memory or in Postgres."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bandit.alarm import Alarm
from feedback.memory import MemoryDecisionLog
from feedback.sql import SqlDecisionLog
from tests.makers import NOW

LONG_AGO = NOW - timedelta(days=30)


@pytest.fixture(params=["memory", "postgres"])
async def book(request, clock):
    if request.param == "memory":
        log = MemoryDecisionLog(clock=clock)
    else:
        log = SqlDecisionLog(request.getfixturevalue("dsn"), clock=clock)
    yield log.alarms
    await log.aclose()


def alarm(n, **changes):
    made = Alarm(f"d{n}/guard/edge", "guard", "edge", f"d{n}", n, 0.5, 0.25, "traffic goes back")
    return replace(made, **changes)


async def claim(book, clock, limit=10, *, lease_s=30, since=LONG_AGO):
    until = clock.now + timedelta(seconds=lease_s)
    return await book.claim(limit, until=until, noticed_since=since)


async def test_an_alarm_comes_back_as_it_was(book):
    (added,) = await book.add([alarm(1, arm=None)], position=7, tell=True)
    assert added.alarm == alarm(1, arm=None)
    assert (added.position, added.noticed_at, added.delivery) == (7, NOW, "pending")
    assert list(await book.newest(5)) == [added]


async def test_an_alarm_that_is_added_again_is_not_new_and_not_changed(book):
    await book.add([alarm(1)], position=7, tell=False)
    added = await book.add([alarm(1, action="other"), alarm(2)], position=9, tell=True)
    assert [row.alarm.alarm_id for row in added] == ["d2/guard/edge"]
    assert (await book.newest(5))[1].alarm.action == "traffic goes back"
    assert await book.add([], position=9, tell=True) == []


async def test_pages_go_from_the_newest_to_the_oldest(book):
    await book.add([alarm(n) for n in range(5)], position=1, tell=False)
    first = await book.newest(3)
    second = await book.newest(3, before=first[-1].seq)
    assert [row.alarm.n_interactions for row in (*first, *second)] == [4, 3, 2, 1, 0]


async def test_alarms_of_one_kind_can_be_asked_for(book):
    await book.add([alarm(1), alarm(2, kind="quality")], position=1, tell=False)
    assert [row.alarm.n_interactions for row in await book.newest(5, kind="quality")] == [2]
    assert not await book.newest(5, kind="nothing\x00")


async def test_a_tally_counts_by_kind_and_shows_the_newest(book):
    assert (await book.tally()).newest is None
    await book.add([alarm(1), alarm(2, kind="quality"), alarm(3)], position=1, tell=True)
    tally = await book.tally()
    assert dict(tally.by_kind) == {"guard": 2, "quality": 1}
    assert tally.n_pending == 3
    assert tally.newest.alarm == alarm(3)


async def test_a_claimed_alarm_is_nobody_elses_until_the_claim_ends(book, clock):
    await book.add([alarm(n) for n in range(3)], position=1, tell=True)
    assert [row.alarm.n_interactions for row in await claim(book, clock, 2)] == [0, 1]
    assert [row.alarm.n_interactions for row in await claim(book, clock)] == [2]
    clock.advance(31)
    again = await claim(book, clock)
    assert [row.attempts for row in again] == [2, 2, 2]


async def test_only_alarms_that_are_to_be_told_are_claimed(book, clock):
    await book.add([alarm(1)], position=1, tell=False)
    assert list(await claim(book, clock)) == []


async def test_a_delivered_alarm_is_never_claimed_again(book, clock):
    await book.add([alarm(1)], position=1, tell=True)
    await claim(book, clock)
    await book.settle("d1/guard/edge")
    clock.advance(1000)
    assert list(await claim(book, clock)) == []
    (row,) = await book.newest(1)
    assert (row.delivery, row.delivered_at, row.error) == ("delivered", NOW, None)


async def test_a_failed_attempt_is_due_again_when_it_says(book, clock):
    await book.add([alarm(1)], position=1, tell=True)
    await claim(book, clock)
    await book.settle("d1/guard/edge", error="status 500", retry_at=NOW + timedelta(seconds=4))
    assert (await book.newest(1))[0].error == "status 500"
    assert list(await claim(book, clock)) == []
    clock.advance(4)
    assert len(await claim(book, clock)) == 1


async def test_an_alarm_that_waits_too_long_is_given_up(book, clock):
    await book.add([alarm(1)], position=1, tell=True)
    clock.advance(100)
    assert list(await claim(book, clock, since=clock.now - timedelta(seconds=99))) == []
    assert (await book.newest(1))[0].delivery == "given_up"
    assert (await book.tally()).n_pending == 0


async def test_a_quantity_that_is_not_finite_is_stored_as_none(book):
    await book.add([alarm(1, after=float("nan"))], position=1, tell=False)
    assert (await book.newest(1))[0].alarm.action == "traffic goes back"
