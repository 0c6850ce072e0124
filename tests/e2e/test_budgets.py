"""Budgets over two server processes on one Postgres: no cap is ever broken, one price for both."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from tests.running import REPOSITORY, STAND_IN_ARM, RunningServer, clean_environment, until
from tests.slow_upstream import SlowUpstream

CAP_USD = 0.5
N_STREAMS = 64
QUERIES_EACH = 4
UNANSWERED = "SELECT (SELECT count(*) FROM decisions) - (SELECT count(*) FROM outcomes)"
ASK = {"messages": [{"role": "user", "content": "Hello there"}], "stream": True, "max_tokens": 10}


def arm(name, upstream, **prices):
    tier = "cloud" if prices else "edge"
    return {"id": name, "tier": tier, "backend": "openai", "model": f"{name}-1",
            "base_url": upstream.url, "answer_tokens": 100, "price_in": 0, "price_out": 0,
            **prices}  # fmt: skip


def settings(dsn, upstream, *, cap=CAP_USD, **more):
    paid = arm("paid", upstream, price_in=100, price_out=1000)
    return {
        "arms": [arm("free", upstream), paid],
        "database": {"dsn": dsn},
        "policy": {"gamma": 0.01},
        "budgets": [
            {"name": "all", "usd_per_day": cap, "usd_per_query": 0.02},
            {"name": "search", "tag": "team=search", "usd_per_day": cap / 2},
        ],
        **more,
    }


@pytest.fixture
def upstream():
    with SlowUpstream() as running:
        yield running


@pytest.fixture
def replicas(dsn, upstream, request):
    """Two servers on one database; the first learns."""
    given = settings(dsn, upstream, server={"answer_timeout_s": getattr(request, "param", 30)})
    both = (RunningServer(given), RunningServer({**given, "learner": {"enabled": False}}))
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(RunningServer.start, both))
        yield both
    finally:
        for server in both:
            server.kill()
            server.clear()


def rows(dsn, statement):
    with psycopg.connect(dsn.replace("+psycopg", "")) as connection:
        return connection.execute(statement).fetchall()


def spent_by_the_log(dsn, tag=None):
    where = "" if tag is None else f"WHERE d.tags -> 'caller' ->> 'team' = '{tag}'"
    statement = f"SELECT coalesce(sum(cost_usd), 0) FROM outcomes JOIN decisions d USING (decision_id) {where}"  # noqa: E501
    return rows(dsn, statement)[0][0]


def accounts(dsn):
    found = rows(
        dsn, "SELECT budget, sum(spent_nusd), sum(reserved_nusd) FROM budget_days GROUP BY 1"
    )
    return {name: (float(spent) / 1e9, float(held) / 1e9) for name, spent, held in found}


async def ask_all(urls, n_streams, n_each, **more):
    """Status codes and arms of all answers; every stream is read to its end."""

    async def caller(client, n):
        found = []
        for i in range(n_each):
            tags = {"pointsman": {"tags": {"team": "search"}}} if (n + i) % 2 else {}
            url = f"{urls[n % len(urls)]}/v1/chat/completions"
            async with client.stream("POST", url, json={**ASK, **tags, **more}) as reply:
                await reply.aread()
                found.append((reply.status_code, reply.headers.get("x-pointsman-arm")))
        return found

    limits = httpx.Limits(max_connections=n_streams)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        every = await asyncio.gather(*(caller(client, n) for n in range(n_streams)))
    return Counter(one for found in every for one in found)


def test_64_streams_at_two_servers_never_spend_more_than_the_day_has(dsn, replicas):
    urls = [server.base_url for server in replicas]
    found = asyncio.run(ask_all(urls, N_STREAMS, QUERIES_EACH))
    # Whatever was reserved is settled, and every outcome is in the log.
    until(lambda: all(held == 0.0 for _, held in accounts(dsn).values()))
    n_answers = sum(found.values())
    until(lambda: rows(dsn, "SELECT count(*) FROM outcomes")[0][0] == n_answers)

    assert set(found) == {(200, "free"), (200, "paid")}
    book = accounts(dsn)
    # Every bill in the log was paid; what came too late on a busy machine was charged in full.
    assert book["all"][0] >= spent_by_the_log(dsn) - 1e-6
    assert book["search"][0] >= spent_by_the_log(dsn, "search") - 1e-6
    assert book["all"][0] <= CAP_USD
    assert spent_by_the_log(dsn) <= CAP_USD
    assert spent_by_the_log(dsn, "search") <= CAP_USD / 2
    # It did bite: arms were masked for want of money, while answers on their way held it.
    masked = rows(dsn, "SELECT count(*) FROM decisions WHERE masked ->> 'paid' = 'budget'")[0][0]
    assert masked > 0

    with replicas[1].client() as client:
        refused = until(lambda: final_refusal(client, {**ASK, "model": "paid"}), timeout_s=60)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert "it resets at" in refused.json()["error"]["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    until(lambda: not rows(dsn, UNANSWERED)[0][0])
    assert 0.5 * CAP_USD < spent_by_the_log(dsn) <= CAP_USD

    # One price: both have counted every outcome.
    last = rows(dsn, "SELECT max(position) FROM outcomes")[0][0]
    states = []
    for server in replicas:
        with server.client() as client:
            state = until(lambda c=client: counted(c, last))
            states.append((state["price"], state["balance_usd"]))
            metrics = client.get("/metrics").text
            assert 'pointsman_budget_usd{budget="all",per="day"} 0.5' in metrics
            assert 'pointsman_budget_spent_usd{budget="all"}' in metrics
    assert states[0] == states[1]
    shown = replicas[0].cli("budgets", "show", "--url", urls[0], "--json")
    assert [budget["name"] for budget in json.loads(shown.stdout)["budgets"]] == ["all", "search"]

    # A server that starts anew continues from there.
    replicas[0].stop()
    replicas[0].start()
    with replicas[0].client() as client:
        again = until(lambda: counted(client, last))
    assert again["balance_usd"] == pytest.approx(states[0][1])
    decided = rows(dsn, "SELECT scenario ->> 'cost_price' FROM decisions ORDER BY seq DESC LIMIT 1")
    assert float(decided[0][0]) > 0.0


def final_refusal(client, asked):
    """The reply that says that the day's money is spent, for good."""
    reply = client.post("/v1/chat/completions", json=asked)
    return reply if reply.headers.get("x-should-retry") == "false" else None


def counted(client, position):
    found = client.get("/v1/budgets").json()["budgets"][0]
    return found if found["position"] is not None and found["position"] >= position else None


@pytest.mark.parametrize("replicas", [3], indirect=True)
def test_what_a_killed_server_had_reserved_is_charged_in_full(dsn, replicas):
    first, second = replicas
    asked = {**ASK, "model": "paid", "max_tokens": 1000}
    with ThreadPoolExecutor(4) as pool:
        streams = [pool.submit(begin, first.base_url, asked) for _ in range(4)]
        held = until(lambda: accounts(dsn).get("all", (0, 0))[1])
        until(lambda: rows(dsn, "SELECT count(*) FROM reservations")[0][0] == 4)
        held = accounts(dsn)["all"][1]
        first.kill()
        for stream in streams:
            stream.result()
    # The other server finds them when their time is over.
    until(lambda: rows(dsn, "SELECT count(*) FROM reservations")[0][0] == 0, timeout_s=30)
    spent, left = accounts(dsn)["all"]
    assert (spent, left) == (pytest.approx(held), 0.0)
    assert spent <= CAP_USD
    with second.client() as client:
        day = client.get("/v1/budgets").json()["budgets"][0]
    assert day["spent_usd"] == pytest.approx(spent)
    assert datetime.fromisoformat(day["resets_at"]) > datetime.now(UTC)


def begin(url, body):
    try:
        httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    except httpx.HTTPError:
        return


@pytest.mark.parametrize(
    ("budgets", "arms", "want"),
    [
        ([{"name": "all"}], [STAND_IN_ARM], "at least one of the two"),
        ([{"name": "all", "usd_per_day": -1}], [STAND_IN_ARM], "greater than 0"),
        ([{"name": "all", "usd_per_query": 0}], [STAND_IN_ARM], "greater than 0"),
        ([{"name": "all", "usd_per_dya": 1}], [STAND_IN_ARM], "did you mean 'usd_per_day'"),
        ([{"name": "all", "tag": "search", "usd_per_day": 1}], [STAND_IN_ARM], "name=value"),
        ([{"name": "all", "usd_per_day": 1}] * 2, [STAND_IN_ARM], "two are with the name 'all'"),
        (
            [{"name": "a", "usd_per_day": 1}, {"name": "b", "usd_per_day": 2}],
            [STAND_IN_ARM],
            "two are for every query",
        ),
    ],
)
def test_a_budget_that_cannot_be_is_refused_with_its_reason(tmp_path, budgets, arms, want):
    config = tmp_path / "settings.yaml"
    config.write_text(json.dumps({"arms": arms, "budgets": budgets}))
    found = subprocess.run(
        [sys.executable, "-m", "pointsman", "check", "--config", str(config)],
        env=clean_environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert want in found.stderr
    assert "Traceback" not in found.stderr


def test_a_cap_below_one_answer_is_refused_before_anything_is_served():
    server = RunningServer(
        {"arms": [STAND_IN_ARM], "budgets": [{"name": "all", "usd_per_day": 0.001}]}
    )
    try:
        with pytest.raises(AssertionError, match="less than one answer of 'cloud' may cost"):
            server.start()
        assert server.process.returncode == 2
    finally:
        server.clear()


def test_objectives_price_what_is_decided_and_are_shown(dsn):
    server = RunningServer(
        {
            "arms": [STAND_IN_ARM],
            "database": {"dsn": dsn},
            "objectives": {"p95_latency_s": 30, "quality_floor": 0.5},
        }
    )
    asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    try:
        server.start()
        with server.client() as client:
            reply = client.post("/v1/chat/completions", json=asked)
            decided = reply.headers["x-pointsman-decision-id"]
            until(lambda: not rows(dsn, UNANSWERED)[0][0])
            told = client.post(
                "/v1/feedback", json={"decision_id": decided, "metric": "thumbs", "value": 1}
            )
            assert told.status_code < 300
            late, good = until(lambda: all_counted(client))
            metrics = client.get("/metrics").text
        shown = server.cli("budgets", "show", "--url", server.base_url)
    finally:
        server.stop()
        server.clear()
    (scenario,) = rows(dsn, "SELECT scenario FROM decisions")[0]
    assert (scenario["latency_slo_s"], scenario["latency_price"]) == (30.0, pytest.approx(1.0))
    assert scenario["quality_price"] == pytest.approx(0.1)
    assert (late["name"], late["target"]) == ("p95_latency_s", 30.0)
    assert late["balance"] == pytest.approx(0.05)
    assert (good["name"], good["target"]) == ("quality_floor", 0.5)
    assert 'pointsman_objective{objective="p95_latency_s"} 30.0' in metrics
    assert 'pointsman_objective_price{objective="quality_floor"}' in metrics
    assert "no budgets" in shown.stdout
    assert "quality_floor" in shown.stdout


def all_counted(client):
    """The objectives, once both have counted something."""
    aims = client.get("/v1/budgets").json()["objectives"]
    return aims if all(aim["balance"] != 0.0 for aim in aims) else None


def test_a_key_spends_from_its_own_budget_whatever_tag_a_request_names():
    server = RunningServer(
        {
            "arms": [STAND_IN_ARM],
            "budgets": [{"name": "search", "tag": "team=search", "usd_per_day": 0.01}],
        }
    )
    made = server.cli("keys", "create", "--scope", "inference", "--tag", "team=search", "--json")
    key = json.loads(made.stdout)["key"]
    admin = server.key("admin")
    asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    try:
        server.start()
        with server.client(key) as client:
            other = {**asked, "pointsman": {"tags": {"team": "ads"}}}
            assert client.post("/v1/chat/completions", json=other).status_code == 400
            assert client.get("/v1/budgets").status_code == 403
            assert client.post("/v1/chat/completions", json=asked).status_code == 200
            until(lambda: final_refusal(client, asked), timeout_s=60, every_s=0.0)
        with server.client(admin) as client:
            assert client.post("/v1/chat/completions", json=asked).status_code == 200
            (standing,) = client.get("/v1/budgets").json()["budgets"]
        assert standing["spent_usd"] <= standing["usd_per_day"] == 0.01
    finally:
        server.stop()
        server.clear()
