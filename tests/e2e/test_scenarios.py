"""Scenarios of requests and keys, in a real server."""

import json

import pytest

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
