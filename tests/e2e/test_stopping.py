"""Stopping: kindly with streams open, and by kill -9 in a burst of votes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import psycopg
import pytest

from feedback.postgres import EmbeddedPostgres
from tests.running import (
    REPOSITORY,
    STAND_IN_ARM,
    RunningServer,
    clean_environment,
    until,
)
from tests.slow_upstream import SlowUpstream

ASK = {"model": "slow", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


@pytest.fixture
def slow():
    """A server whose one arm is the slow upstream; it drains for two seconds."""
    with SlowUpstream() as upstream:
        arm = {"id": "slow", "tier": "cloud", "backend": "openai", "model": "slow-1",
               "base_url": upstream.url, "price_in": 1, "price_out": 1}  # fmt: skip
        running = RunningServer({"arms": [arm], "server": {"drain_s": 2}})
        try:
            yield running.start()
        finally:
            running.clear()


def read_stream(server, n_words, started):
    with (
        server.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**ASK, "max_tokens": n_words}) as reply,
    ):
        events = []
        for line in reply.iter_lines():
            if line.startswith("data: "):
                events.append(line.removeprefix("data: "))
                started.set()
    return events


def test_open_streams_finish_or_end_with_an_error_and_the_exit_code_is_0(slow):
    lengths = [4] * 10 + [1000] * 10
    flags = [threading.Event() for _ in lengths]
    with ThreadPoolExecutor(len(lengths)) as pool:
        streams = [
            pool.submit(read_stream, slow, n_words, flag)
            for n_words, flag in zip(lengths, flags, strict=True)
        ]
        assert all(flag.wait(30) for flag in flags)
        slow.signal(signal.SIGTERM)
        with slow.client() as client:
            ready = client.get("/health/ready")
            late = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 1})
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        assert late.status_code == 503
        assert late.json()["error"]["message"]
        assert slow.process.wait(30) == 0
        found = [stream.result() for stream in streams]
    assert all(events[-1] == "[DONE]" for events in found[:10])
    for events in found[10:]:
        assert "[DONE]" not in events
        assert json.loads(events[-1])["error"]["code"]


def test_a_second_signal_stops_at_once(slow):
    flag = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(read_stream, slow, 10_000, flag)
        assert flag.wait(30)
        slow.signal(signal.SIGTERM)
        until(lambda: "draining" in slow.log)
        slow.signal(signal.SIGTERM)
        assert slow.process.wait(30) == 0
        with contextlib.suppress(httpx.HTTPError):
            stream.result(30)


def test_a_stop_leaves_no_process_behind():
    running = RunningServer()
    try:
        running.start()
        family = psutil.Process(running.process.pid).children(recursive=True)
        database = EmbeddedPostgres(running.data_dir / "postgres")
        family.append(psutil.Process(database.pid))
        assert len(family) >= 3
        assert running.stop() == 0
        until(lambda: not any(alive(child) for child in family))
    finally:
        running.clear()


def alive(process):
    """Whether it runs; a zombie that nobody has waited for does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Voters:
    """Eight clients that vote as fast as they can, and remember what was acknowledged."""

    def __init__(self, server, decisions):
        self._server = server
        self._decisions = iter(decisions)
        self._lock = threading.Lock()
        self.acknowledged = set()

    def run(self):
        with self._server.client() as client:
            while True:
                with self._lock:
                    decision_id = next(self._decisions, None)
                if decision_id is None or not self._vote(client, decision_id):
                    return

    def _vote(self, client, decision_id):
        body = {"decision_id": decision_id, "metric": "thumbs", "value": "up"}
        try:
            reply = client.post("/v1/feedback", json=body)
        except httpx.HTTPError:
            return False
        if reply.status_code == 201:
            with self._lock:
                self.acknowledged.add(decision_id)
        return True


def decide(server, n_decisions):
    """Ids of new decisions that nobody has judged."""

    def some(n):
        ask = {"messages": [{"role": "user", "content": "Hello"}]}
        with server.client() as client:
            replies = [client.post("/v1/route", json=ask).json() for _ in range(n)]
        assert all(reply["logged"] for reply in replies)
        return [reply["decision_id"] for reply in replies]

    with ThreadPoolExecutor(4) as pool:
        return [made for ids in pool.map(some, [n_decisions // 4] * 4) for made in ids]


def test_no_acknowledged_vote_is_lost_or_learned_twice_over_ten_kills():
    running = RunningServer({"arms": [STAND_IN_ARM]})
    rng = random.Random(7)
    acknowledged = set()
    try:
        running.start()
        for _ in range(10):
            acknowledged |= burst(running, after_s=rng.uniform(0.0, 0.1))
            running.start()
        stored = votes(running)
        assert acknowledged <= stored
        with running.client() as client:
            learned = until(lambda: caught_up(client), timeout_s=60)
        assert learned == len(stored)
        assert running.stop() == 0
    finally:
        running.clear()


def burst(server, *, after_s):
    """Votes that were acknowledged before the server was killed in the midst of them."""
    voters = Voters(server, decide(server, 120))
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(voters.run) for _ in range(8)]
        until(lambda: len(voters.acknowledged) >= 20)
        # Waits for nothing: votes are under way, and the kill is to fall at any point of one.
        time.sleep(after_s)
        server.kill()
        for client in clients:
            client.result(60)
    return voters.acknowledged


def caught_up(client):
    state = client.get("/health/learn").json()
    return state["n_interactions"] if state.get("lag_events") == 0 else None


def votes(server):
    """Decisions that have a vote in the database."""
    dsn = EmbeddedPostgres(server.data_dir / "postgres").dsn.replace("+psycopg", "")
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT decision_id FROM feedback").fetchall()
    ids = [row[0] for row in rows]
    assert len(ids) == len(set(ids))
    return set(ids)


def test_without_its_database_it_answers_refuses_votes_and_recovers_by_itself():
    running = RunningServer({"arms": [STAND_IN_ARM]})
    try:
        running.start()
        made = decide(running, 4)[0]
        os.kill(EmbeddedPostgres(running.data_dir / "postgres").pid, signal.SIGKILL)
        with running.client() as client:
            vote = {"decision_id": made, "metric": "thumbs", "value": "up"}
            refused = until(lambda: refusal(client.post("/v1/feedback", json=vote)))
            assert refused.json()["error"]["code"] == "log_unavailable"
            assert int(refused.headers["retry-after"]) >= 1
            hello = {"messages": [{"role": "user", "content": "Hello"}]}
            assert client.post("/v1/chat/completions", json=hello).status_code == 200
            until(lambda: client.post("/v1/feedback", json=vote).status_code == 201, timeout_s=60)
            until(lambda: caught_up(client) == 1, timeout_s=60)
        assert running.stop() == 0
    finally:
        running.clear()


def refusal(reply):
    """The reply, if the database was away; a vote that was still stored is not one."""
    assert reply.status_code in (201, 503)
    return reply if reply.status_code == 503 else None


def test_a_learner_of_its_own_outlives_a_reload_and_ends_with_what_it_learned():
    running = RunningServer({"arms": [STAND_IN_ARM], "learner": {"enabled": False}})
    learner = None
    try:
        running.start()
        command = [sys.executable, "-m", "pointsman", "learn", "--config",
                   str(running.data_dir / "settings.yaml")]  # fmt: skip
        environment = clean_environment(POINTSMAN_DATABASE__DATA_DIR=str(running.data_dir))
        with (running.data_dir / "learner.txt").open("wb") as log:
            learner = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=REPOSITORY
            )
        with running.client() as client:
            until(lambda: client.get("/health/learn").json()["learner"] == "elsewhere", 60)
            learner.send_signal(signal.SIGHUP)
            (made,) = decide(running, 4)[:1]
            vote = {"decision_id": made, "metric": "thumbs", "value": "up"}
            assert client.post("/v1/feedback", json=vote).status_code == 201
            last = until(lambda: learned_by_now(client))
            learner.terminate()
            assert learner.wait(60) == 0
            state = client.get("/health/learn").json()
        assert (state["learner"], state["position"]) == ("nowhere", last)
        assert "restart to change them" in (running.data_dir / "learner.txt").read_text()
        assert running.stop() == 0
    finally:
        if learner is not None and learner.poll() is None:
            learner.kill()
            learner.wait()
        running.clear()


def learned_by_now(client):
    """The position of the newest event, once it was learned and published."""
    state = client.get("/health/learn").json()
    return state["position"] if state["position"] == state["log_position"] > 0 else None
