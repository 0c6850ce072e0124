"""Alarms told to a real receiver, from a real Postgres."""

import asyncio
import socket
from datetime import timedelta

import httpx
import pytest

from feedback.sql import SqlDecisionLog
from serving.webhook import Webhook, WebhookConfig, sign
from tests.contracts.test_alarm_books import alarm
from tests.makers import Clock
from tests.webhook_receiver import Receiver


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def log(dsn, clock):
    made = SqlDecisionLog(dsn, clock=clock)
    yield made
    await made.aclose()


async def deliver(log, clock, url, **options):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await Webhook(log.alarms, WebhookConfig(url, **options), clock=clock).deliver(client)


async def test_an_alarm_is_told_once_with_its_id_and_a_signature(log, clock):
    await log.alarms.add([alarm(1)], position=7, tell=True)
    with Receiver() as receiver:
        options = {"token": "t0ken", "secret": "s3cret"}
        assert await deliver(log, clock, receiver.url, **options) == 1
        assert await deliver(log, clock, receiver.url, **options) == 0
        ((headers, body),) = receiver.posts
        (told,) = receiver.alarms
    assert headers["idempotency-key"] == told["alarm_id"] == "d1/guard/edge"
    assert headers["authorization"] == "Bearer t0ken"
    stamp = headers["x-pointsman-timestamp"]
    assert headers["x-pointsman-signature"] == sign("s3cret", stamp, body)
    assert (told["kind"], told["arm"], told["after"], told["position"]) == (
        "guard",
        "edge",
        0.25,
        7,
    )
    assert told["text"] == "Pointsman, guard of edge: traffic goes back"


async def test_a_failing_webhook_is_tried_again_later_and_later(log, clock):
    await log.alarms.add([alarm(1)], position=1, tell=True)
    with Receiver(500, 302, 429) as receiver:
        for pause_s in (1, 2, 4):
            assert await deliver(log, clock, receiver.url) == 1
            clock.advance(pause_s - 0.5)
            assert await deliver(log, clock, receiver.url) == 0
            clock.advance(0.5)
        assert await deliver(log, clock, receiver.url) == 1
    (row,) = await log.alarms.newest(1)
    assert (row.delivery, row.attempts) == ("delivered", 4)


async def test_a_webhook_that_hangs_or_is_away_costs_no_more_than_the_timeout(log, clock):
    await log.alarms.add([alarm(1)], position=1, tell=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert await deliver(log, clock, url, timeout_s=0.2) == 1
    (row,) = await log.alarms.newest(1)
    assert row.error == "no answer within 0.2 s"
    clock.advance(60)
    assert await deliver(log, clock, url) == 1
    assert (await log.alarms.newest(1))[0].error == "ConnectError"


async def test_a_server_that_dies_while_telling_leaves_the_alarm_to_the_next_one(log, clock):
    await log.alarms.add([alarm(1)], position=1, tell=True)
    claimed = await log.alarms.claim(
        8, until=clock.now + timedelta(seconds=15), noticed_since=clock.now - timedelta(days=1)
    )
    assert len(claimed) == 1  # and here it is killed
    with Receiver() as receiver:
        assert await deliver(log, clock, receiver.url) == 0
        clock.advance(16)
        assert await deliver(log, clock, receiver.url) == 1
        assert await deliver(log, clock, receiver.url) == 0


async def test_two_servers_tell_every_alarm_once(log, clock):
    await log.alarms.add([alarm(n) for n in range(20)], position=1, tell=True)
    with Receiver() as receiver:
        # What is not answered in time is told again, as it should be; here everything is in time.
        two = [lambda: deliver(log, clock, receiver.url, timeout_s=60.0)] * 2
        while sum(await asyncio.gather(*(tell() for tell in two))):
            pass
        ids = [told["alarm_id"] for told in receiver.alarms]
    assert sorted(ids) == sorted({f"d{n}/guard/edge" for n in range(20)})


async def test_telling_goes_on_after_the_log_was_away(clock):
    class Away:
        calls = 0

        async def claim(self, *_, **__):
            Away.calls += 1
            raise RuntimeError("bug")

    webhook = Webhook(Away(), WebhookConfig("http://127.0.0.1:1/", poll_s=0.001), clock=clock)
    task = asyncio.create_task(webhook.run())
    async with asyncio.timeout(10):
        while Away.calls < 3:  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)
    task.cancel()
