"""Reservations in a real Postgres: nothing is spent that is not there, whoever asks or dies."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from bandit.budget import Budget
from bandit.primitives import Arm, Estimate, Prediction
from feedback.engine import LogConfig
from feedback.ledger import Balance, Claim, PacerRow
from feedback.sql import SqlDecisionLog
from feedback.sql_ledger import SqlLedger
from serving.pacing import PacerBoard
from serving.purse import CALLER
from tests.makers import NOW, logged, outcome

TODAY = date(2026, 3, 1)
ALL, SEARCH = ("all", TODAY), ("search", TODAY)
ARMS = (Arm("edge", "edge", "small", 0.0, 0.0), Arm("cloud", "cloud", "large", 1.0, 3.0))


@pytest.fixture
async def ledger(dsn):
    made = SqlLedger(dsn, config=LogConfig(n_connections=4))
    yield made
    await made.aclose()


@pytest.fixture
async def other(dsn):
    """A second server's ledger on the same database."""
    made = SqlLedger(dsn, config=LogConfig(n_connections=4))
    yield made
    await made.aclose()


def claim(name, amount=10, *, caps=None, hold_s=60.0):
    return Claim(name, caps or {ALL: 100}, amount, NOW + timedelta(seconds=hold_s))


async def test_64_claims_at_two_servers_reserve_what_is_there_and_no_more(ledger, other):
    claims = [claim(f"c{n}", 7) for n in range(64)]
    asked = [(ledger, other)[n % 2].reserve(one) for n, one in enumerate(claims)]
    verdicts = await asyncio.gather(*asked)
    assert sum(verdicts) == 100 // 7
    assert await other.balances(TODAY) == {"all": Balance(0, 98)}


async def test_a_claim_takes_from_every_budget_or_from_none(ledger):
    both = {ALL: 100, SEARCH: 15}
    assert await ledger.reserve(claim("one", 10, caps=both))
    assert not await ledger.reserve(claim("two", 10, caps=both))
    expected = {"all": Balance(0, 10), "search": Balance(0, 10)}
    assert await ledger.balances(TODAY) == expected


async def test_a_bill_replaces_its_reservation_and_does_so_once(ledger, other):
    one = claim("one", 10)
    await ledger.reserve(one)
    await ledger.settle(one, 4)
    await other.settle(one, 4)
    assert await ledger.balances(TODAY) == {"all": Balance(4, 0)}


async def test_what_nobody_settled_is_charged_in_full_when_its_time_is_over(ledger, other):
    one = claim("one", 10, caps={ALL: 100, SEARCH: 100})
    await ledger.reserve(one)
    await ledger.reserve(claim("two", 5, hold_s=600.0))
    assert await other.expire(NOW + timedelta(seconds=59)) == 0
    assert await other.expire(NOW + timedelta(seconds=61)) == 1
    await ledger.settle(one, 1)
    assert await ledger.balances(TODAY) == {"all": Balance(10, 5), "search": Balance(10, 0)}


async def test_every_day_has_its_own_money(ledger):
    await ledger.reserve(claim("one", 100))
    tomorrow = TODAY + timedelta(days=1)
    assert not await ledger.reserve(claim("two", 1))
    assert await ledger.reserve(claim("three", 100, caps={("all", tomorrow): 100}))


async def test_settling_and_reserving_across_budgets_never_wait_for_each_other(ledger, other):
    """Whichever order the accounts come in, their rows are locked in one order."""
    names = [f"b{n}" for n in range(6)]

    async def one(n):
        at, accounts = (ledger, other)[n % 2], [(name, TODAY) for name in names]
        mine = claim(f"c{n}", 1, caps=dict.fromkeys(accounts[:: 1 if n % 3 else -1], 10**6))
        await at.reserve(mine)
        await at.settle(mine, 1)

    await asyncio.gather(*(one(n) for n in range(200)))
    assert await ledger.balances(TODAY) == dict.fromkeys(names, Balance(200, 0))


async def test_what_a_caller_paid_counts_though_nothing_was_reserved(ledger):
    await ledger.charge([ALL, SEARCH], 7)
    await ledger.charge([ALL], 3)
    assert await ledger.balances(TODAY) == {"all": Balance(10, 0), "search": Balance(7, 0)}


async def test_a_pacer_row_never_goes_back(ledger, other):
    await ledger.open_pacers(["all"])
    await ledger.keep_pacers({"all": PacerRow(9, {"price": 2.0})})
    await other.keep_pacers({"all": PacerRow(8, {"price": 1.0})})
    assert await other.open_pacers(["all"]) == {"all": PacerRow(9, {"price": 2.0})}


def paid(n, cost_usd, *, team=None, reason="policy"):
    """A decision and its outcome."""
    prediction = Prediction(
        ("edge", "cloud"),
        (0.5, 0.5),
        "v",
        (Estimate(0.6, 0.0, 1.0, 0.6), Estimate(0.8, 0.002, 1.0, 0.8 + n / 1e4)),
    )
    tags = {CALLER: {"team": team}} if team else {}
    made = logged(f"d{n}", arms=ARMS, prediction=prediction, arm="cloud", tags=tags, reason=reason)
    return made, outcome(f"d{n}", arm="cloud", cost_usd=cost_usd)


async def write(log, rows):
    await log.add_decisions([made for made, _ in rows])
    await log.add_outcomes([done for _, done in rows])


BUDGETS = (
    Budget("all", usd_per_query=0.001),
    Budget("search", ("team", "search"), usd_per_query=0.0005),
)


async def test_servers_that_share_a_log_arrive_at_the_same_price(dsn, ledger, other):
    log = SqlDecisionLog(dsn, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    one, two = (PacerBoard(BUDGETS, at, gamma=20.0) for at in (ledger, other))
    await one.advance()
    await two.advance()
    await write(log, [paid(n, 0.002, team="search" if n % 2 else None) for n in range(80)])
    await one.advance()
    await write(log, [paid(n, 0.001) for n in range(80, 150)])
    await one.advance()
    await two.advance()
    states = [{n: p.state() for n, p in board.pacers.items()} for board in (one, two)]
    assert states[0] == states[1]
    assert one.positions == two.positions
    assert one.pacers["all"].balance_usd != one.pacers["search"].balance_usd
    await log.aclose()


async def test_a_server_that_starts_anew_continues_the_pacer(dsn, ledger, other):
    log = SqlDecisionLog(dsn)
    one = PacerBoard(BUDGETS, ledger, gamma=20.0)
    await one.advance()
    await write(log, [paid(n, 0.002) for n in range(100)])
    await one.advance()
    await one.keep()
    await write(log, [paid(n, 0.002) for n in range(100, 120)])
    again = PacerBoard(BUDGETS, other, gamma=20.0)
    await again.advance()
    await one.advance()
    assert again.pacers["all"].state() == one.pacers["all"].state()
    assert again.pacers["all"].balance_usd == pytest.approx(120 * (0.001 - 0.002))
    await log.aclose()


async def test_a_pin_is_billed_though_it_says_nothing_of_what_draws_cost(dsn, ledger):
    log = SqlDecisionLog(dsn)
    board = PacerBoard(BUDGETS, ledger, gamma=20.0)
    await board.advance()
    await write(log, [paid(n, 0.002, reason="pin") for n in range(70)])
    await board.advance()
    pacer = board.pacers["all"]
    assert pacer.balance_usd == pytest.approx(70 * (0.001 - 0.002))
    assert pacer.price == pytest.approx(50.0)
    await log.aclose()


async def test_a_stored_pacer_that_cannot_be_read_begins_anew(dsn, ledger):
    await ledger.open_pacers(["all", "search"])
    await ledger.keep_pacers({"all": PacerRow(1, {"price": "dear"})})
    board = PacerBoard(BUDGETS, ledger, gamma=20.0)
    await board.advance()
    assert board.pacers["all"].price == pytest.approx(50.0)
