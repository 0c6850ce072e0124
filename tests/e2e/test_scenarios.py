"""Scenarios of requests and keys, in a real server."""

import json
import signal

import pytest

from tests.running import STAND_IN_ARM, RunningServer, judged_answer, until

HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


def asked(client, **extras):
    return client.post("/v1/chat/completions", json={**HELLO, "pointsman": extras})


def test_a_requests_numbers_are_logged_with_its_decision(locked):
    numbers = {"scenario": "speed", "weights": {"quality": 0.5, "cost": 0.5}, "mes": 0.7}
    with locked.client(locked.first_key) as client:
        reply = asked(client, **numbers, max_cost_usd=0.004, max_latency_s=9)
        decision = client.get(f"/v1/decisions/{reply.headers['x-pointsman-decision-id']}").json()
    logged = decision["scenario"]
    assert [logged[n] for n in ("w_quality", "w_cost", "w_latency")] == [0.5, 0.5, 0.0]
    assert [logged[n] for n in ("mes", "cost_ceiling_usd", "latency_ceiling_s")] == [0.7, 0.004, 9]
    assert reply.headers["x-pointsman-scenario"] == logged["name"] != "speed"


@pytest.mark.parametrize(
    ("extras", "param"),
    [
        ({"weights": {"quality": 0.5}}, "pointsman.weights"),
        ({"mes": 1.5}, "pointsman.mes"),
        ({"scenario": "fastest"}, "pointsman.scenario"),
        ({"wieghts": {"quality": 1}}, "pointsman.wieghts"),
        ({"max_cost_usd": -1}, "pointsman.max_cost_usd"),
    ],
)
def test_a_bad_number_is_refused_before_anything_is_served(locked, extras, param):
    with locked.client(locked.first_key) as client:
        reply = asked(client, **extras)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert "x-pointsman-decision-id" not in reply.headers


def test_a_key_is_held_to_its_limits(locked):
    options = ["--scenario", "economy", "--no-own-numbers", "--max-mes", "0.5", "--json"]
    made = locked.cli("keys", "create", "--scope", "inference", *options)
    with locked.client(json.loads(made.stdout)["key"]) as client:
        allowed = asked(client, mes=0.5)
        refused = [
            asked(client, **extras)
            for extras in ({"scenario": "quality"}, {"weights": {"quality": 1}}, {"mes": 0.9})
        ]
    assert (allowed.status_code, allowed.headers["x-pointsman-scenario"][:3]) == (200, "own")
    assert [reply.status_code for reply in refused] == [403] * 3
    assert {reply.json()["error"]["code"] for reply in refused} == {"beyond_key_limits"}


def test_a_key_for_a_scenario_that_there_is_not_is_not_made(locked):
    done = locked.cli("keys", "create", "--scope", "inference", "--scenario", "cheap")
    assert done.returncode != 0
    assert "no scenario 'cheap'; there are quality" in done.stderr.replace("\n", " ")


@pytest.fixture(scope="module")
def reloaded():
    """A server whose settings a test may change; two stand-ins, one free and one dear."""
    arms = [
        {**STAND_IN_ARM, "id": "edge", "tier": "edge", "price_in": 0.0, "price_out": 0.0},
        {**STAND_IN_ARM, "price_in": 10.0, "price_out": 10.0},
    ]
    running = RunningServer({"arms": arms})
    try:
        yield running.start()
    finally:
        running.stop()
        running.clear()


def rewrite(running, **changes):
    settings = {**running._settings, **changes}
    (running.data_dir / "settings.yaml").write_text(json.dumps(settings))


def route(client, model="auto"):
    return client.post("/v1/route", json={**HELLO, "model": model}).json()


def serial(made):
    return int(made["policy_version"].rpartition("-")[2])


def logged(client, made):
    return client.get(f"/v1/decisions/{made['decision_id']}").json()


def test_a_reload_acts_on_the_next_query_without_learning_anew(reloaded):
    cheap = {"w_quality": 0.1, "w_cost": 0.9, "w_latency": 0.0, "cost_ceiling_usd": 0.002}
    with reloaded.client() as client:
        judged_answer(client, "Hello", worth={"edge": 0.5, "cloud": 0.5})
        # Once something was learned, a policy that had begun anew would show.
        before = until(lambda: made if serial(made := route(client)) else None)
        assert client.get("/v1/models/auto:cheap").status_code == 404
        rewrite(reloaded, scenarios={"cheap": cheap}, scenario="cheap")
        reply = client.post("/v1/reload")
        after = route(client)
        decision = logged(client, after)
    changed = reply.json()["changed"]
    assert reply.json()["needs_restart"] == []
    assert {name.removeprefix("scenarios.cheap.") for name in changed} >= {"scenario", *cheap}
    assert {name.partition(".")[0] for name in changed} == {"scenario", "scenarios"}
    assert (before["scenario"], after["scenario"]) == ("balanced", "cheap")
    assert serial(after) >= serial(before)
    assert decision["scenario"]["w_cost"] == 0.9
    assert after["pmf"]["edge"] > before["pmf"]["edge"]


def test_a_new_price_acts_on_the_next_query(reloaded):
    arms = [dict(arm) for arm in reloaded._settings["arms"]]
    arms[1]["price_out"] = 1000.0
    with reloaded.client() as client:
        before = client.post("/v1/chat/completions", json={**HELLO, "model": "cloud"})
        rewrite(reloaded, arms=arms)
        changed = client.post("/v1/reload").json()["changed"]
        after = client.post("/v1/chat/completions", json={**HELLO, "model": "cloud"})
    assert "arms.cloud.price_out" in changed
    cost = "x-pointsman-cost-usd"
    assert float(after.headers[cost]) > 20 * float(before.headers[cost]) > 0.0


def test_what_needs_a_restart_is_told_and_left(reloaded):
    rewrite(reloaded, policy={"gamma": 33.0}, server={"drain_s": 7.0})
    with reloaded.client() as client:
        found = client.post("/v1/reload").json()
    assert found["needs_restart"] == ["policy.gamma", "server.drain_s"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scenarios": {"bad": {"w_quality": 1, "w_cost": 1, "w_latency": 1}}}, "sum to 1"),
        ({"scenario": "fastest"}, "does not exist"),
        ({"scenarios": {"bad": {"w_quality": 1, "w_cost": 0, "w_latency": 0, "mes": 2}}}, "mes"),
        ({"wrong": 1}, "unknown setting"),
    ],
)
def test_a_bad_file_is_refused_with_reasons_and_the_old_settings_stay(reloaded, changes, reason):
    good = {"good": {"w_quality": 1.0, "w_cost": 0.0, "w_latency": 0.0}}
    with reloaded.client() as client:
        rewrite(reloaded, scenarios=good)
        assert client.post("/v1/reload").status_code == 200
        rewrite(reloaded, **changes)
        refused = client.post("/v1/reload")
        answered = asked(client, scenario="good")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_settings")
    assert reason in refused.json()["error"]["message"]
    assert answered.headers["x-pointsman-scenario"] == "good"


def test_a_hangup_reloads_and_a_bad_file_leaves_the_server_as_it_was(reloaded):
    names = "auto:first", "auto:second"
    own = {"w_quality": 1.0, "w_cost": 0.0, "w_latency": 0.0}
    with reloaded.client() as client:
        rewrite(reloaded, scenarios={"first": own})
        reloaded.signal(signal.SIGHUP)
        until(lambda: client.get(f"/v1/models/{names[0]}").status_code == 200)
        rewrite(reloaded, scenarios={"second": {**own, "w_cost": 0.5}})
        refusals = reloaded.log.count("reload refused")
        reloaded.signal(signal.SIGHUP)
        until(lambda: reloaded.log.count("reload refused") > refusals)
        found = [client.get(f"/v1/models/{name}").status_code for name in names]
    assert found == [200, 404]
