"""A running service whose cloud is made worse: it notices, says so, moves traffic, comes back."""

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import httpx
import psycopg
import pytest

from feedback.postgres import EmbeddedPostgres
from tests.grading import STAND_IN, Grader
from tests.running import REPOSITORY, RunningServer, clean_environment, until
from tests.webhook_receiver import Receiver


@contextmanager
def stand_in():
    """A stand-in in a process of its own; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.backends.standin", "--port", "0"],
        stdout=subprocess.PIPE, env=clean_environment(), cwd=REPOSITORY,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.terminate()
        process.communicate(timeout=20)


def behave(url, quality):
    reply = httpx.post(f"{url}/standin/behaviour", json={"quality": quality}, trust_env=False)
    assert reply.json()["quality"] == quality


def arm(name, url, price):
    priced = {"price_in": price, "price_out": price}
    return {**STAND_IN, "id": name, "tier": name, "base_url": f"{url}/v1", **priced}


@pytest.fixture(scope="module")
def world():
    """A server, the URL of its cloud, and its webhook, whose first answer is 503."""
    with ExitStack() as stack:
        edge, cloud = (stack.enter_context(stand_in()) for _ in range(2))
        receiver = stack.enter_context(Receiver(503))
        server = RunningServer(
            {
                "arms": [arm("edge", edge, 0), arm("cloud", cloud, 1)],
                "scenario": "quality",
                "policy": {"draw_seed": 1},
                "learner": {"poll_s": 0.02, "publish_s": 0.05},
                "alarms": {"webhook_url": receiver.url, "webhook_token": "t0ken"},
            }
        )
        stack.callback(server.clear)
        stack.callback(server.stop)
        yield server.start(), cloud, receiver


@pytest.fixture(scope="module")
def story(world):
    """The alarms, oldest first, after the cloud was good, bad and good again."""
    server, cloud, _ = world
    with server.client() as client:
        grader = Grader(client)
        grader.ask_until(lambda: grader.share(100) >= 0.75, most=1000)
        behave(cloud, "bad")
        grader.ask_until(lambda: grader.share(50) <= 0.3, most=1000)
        behave(cloud, "good")
        grader.ask_until(lambda: grader.share(50) >= 0.7, most=1500)
        return client.get("/v1/alarms").json()["data"][::-1]


def test_a_cloud_that_turns_bad_is_noticed_left_and_taken_back_when_it_is_good(story):
    moves = [alarm["after"] - alarm["before"] for alarm in story if _of_the_cloud(alarm)]
    assert moves[0] < 0 < moves[-1]


def test_every_alarm_is_told_once_though_the_webhook_failed_at_first(world, story):
    server, _, receiver = world
    ids = {alarm["alarm_id"] for alarm in story}
    until(lambda: {delivery for _, delivery in _stored(server)} == {"delivered"})
    assert {alarm_id for alarm_id, _ in _stored(server)} == ids
    first, *told = [alarm["alarm_id"] for alarm in receiver.alarms]
    assert sorted(told) == sorted(ids)
    assert first in told
    assert {headers["authorization"] for headers, _ in receiver.posts} == {"Bearer t0ken"}


def test_the_log_the_health_and_the_command_line_show_every_alarm(world, story):
    server = world[0]
    assert all(f'"alarm_id":"{alarm["alarm_id"]}"' in server.log for alarm in story)
    with server.client() as client:
        assert client.get("/health/learn").json()["alarms"]["count"] == len(story)
    listed = server.cli("alarms", "list", "--url", server.base_url, "--json")
    shown = [alarm["alarm_id"] for alarm in json.loads(listed.stdout)["data"]]
    assert shown == [alarm["alarm_id"] for alarm in story][::-1]


def _of_the_cloud(alarm):
    return (alarm["kind"], alarm["arm"]) == ("quality", "cloud")


def _stored(server):
    dsn = EmbeddedPostgres(server.data_dir / "postgres").dsn.replace("+psycopg", "")
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT alarm_id, delivery FROM alarms").fetchall()
