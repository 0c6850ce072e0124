"""The cascade arm of a running server: real edge model, stand-in cloud, OpenAI's SDK."""

import itertools
import json

import httpx
import openai
import pytest

from tests.running import STAND_IN_ARM, RunningServer, until

EDGE_ARM = {"id": "edge", "tier": "edge", "backend": "llama_cpp"}
CASCADE = {"tier": "cascade", "backend": "cascade", "edge": "edge", "cloud": "cloud"}
CASCADES = [{"id": "cascade", **CASCADE}, {"id": "hasty", **CASCADE, "hold_tokens": 3}]
COUNT = [{"role": "user", "content": "Write all the numbers from 1 to 500, one per line."}]
LABEL = "[stand-in cloud]"


@pytest.fixture(scope="module")
def gated():
    """A server whose gate draws either verdict often."""
    running = RunningServer(
        {
            "arms": [EDGE_ARM, STAND_IN_ARM, *CASCADES],
            "policy": {"floor": 0.3, "draw_seed": 1},
            "server": {"sign_of_life_s": 0.2},
        }
    )
    try:
        yield running.start()
    finally:
        running.stop()
        running.clear()


@pytest.fixture(scope="module")
def client(gated):
    with openai.OpenAI(
        base_url=f"{gated.base_url}/v1", api_key="none", max_retries=0, timeout=60.0
    ) as client:
        yield client


def ask(client, n, **fields):
    """A raw reply and its text."""
    asked = {
        "model": "cascade",
        "max_tokens": 6,
        "messages": [{"role": "user", "content": f"What is {n} + 25?"}],
    }
    raw = client.chat.completions.with_raw_response.create(**asked | fields)
    if not fields.get("stream"):
        return raw.headers, raw.parse().choices[0].message.content
    parts = [c.choices[0].delta.content or "" for c in raw.parse() if c.choices]
    return raw.headers, "".join(parts)


def decision_of(client, headers):
    where = f"/decisions/{headers['x-pointsman-decision-id']}"

    def found():
        decision = client.get(where, cast_to=object)
        return decision if decision["outcome"] else None

    return until(found)


@pytest.mark.parametrize(
    ("model", "stream"), [("cascade", False), ("cascade", True), ("hasty", True)]
)
def test_both_verdicts_deliver_the_right_answer_and_the_log_has_both_stages(client, model, stream):
    seen = set()
    for n in itertools.count():
        headers, text = ask(client, n, model=model, stream=stream)
        decision = decision_of(client, headers)
        outcome, verdict = decision["outcome"], headers.get("x-pointsman-gate")
        gating = outcome["gating"]
        if verdict == "pending":  # the edge took so long that the stream began before
            verdict = gating["verdict"]
        accepted = verdict == "accept"
        assert (headers["x-pointsman-arm"], headers["x-pointsman-reason"]) == (model, "pin")
        assert (gating["verdict"], gating["forced"], gating["cause"]) == (verdict, False, "")
        pmf = dict(zip(*(gating["prediction"][name] for name in ("arms", "pmf")), strict=True))
        assert gating["propensity"] == pmf[verdict]
        assert min(pmf.values()) >= 0.29
        assert text.startswith(LABEL) != accepted
        assert (outcome["cost_usd"] == 0.0) == accepted
        assert gating["edge_cost_usd"] == 0.0
        assert gating["edge_latency_s"] <= outcome["latency_s"]
        assert {"logprob_mean", "margin_min", "n_words", "truncated"} <= gating["signals"].keys()
        assert gating["signals"]["whole"] == float(model == "cascade")
        seen.add(verdict)
        if len(seen) == 2:
            return
        assert n < 40, "one verdict in forty, at even odds"


def test_json_is_asked_of_both_parts_and_its_failure_is_a_signal(client):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "told", "schema": schema}}
    headers, _ = ask(client, 1, response_format=wanted, max_tokens=3)
    signals = decision_of(client, headers)["outcome"]["gating"]["signals"]
    assert (signals["format_failed"], signals["truncated"]) == (1.0, 1.0)


def test_tools_are_beyond_a_cascade_whose_edge_has_none(client):
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    asked = {"model": "auto", "tools": [tool], "tool_choice": "required"}
    raw = client.chat.completions.with_raw_response.create(messages=COUNT, **asked)
    decision = decision_of(client, raw.headers)
    assert decision["masked"]["cascade"] == "edge:capability:tools"


def test_a_client_that_leaves_while_a_stream_is_held_back_stops_the_edge(gated, client):
    body = {"model": "cascade", "messages": COUNT, "stream": True, "temperature": 0}
    with httpx.Client(base_url=gated.base_url, timeout=60) as http:
        with http.stream("POST", "/v1/chat/completions", json=body) as reply:
            assert next(reply.iter_lines()).startswith(": held back")
        headers = reply.headers
    assert headers["x-pointsman-gate"] == "pending"
    outcome = decision_of(client, headers)["outcome"]
    assert (outcome["failure"], outcome["gating"]) == ("cancelled", None)
    assert until(lambda: state(gated, "edge")["running"] == 0)


def state(gated, arm):
    with gated.client() as http:
        return http.get("/health/ready").json()["arms"][arm]


def test_the_scripted_grader_judges_what_the_server_answers(gated, client):
    options = ["--url", gated.base_url, "--rounds", "9", "--seed", "3", "--json"]
    done = gated.cli("grade", *options)
    rows = json.loads(done.stdout)
    (total,) = [row for row in rows if row["arm"] == "all"]
    assert (done.returncode, total["answers"], total["applied"]) == (0, 9, 9)
    clouds = [row["right"] for row in rows if row["arm"] == "cloud"]
    assert all(share == 1.0 for share in clouds), "the stand-in knows the key"


def test_the_operator_sees_the_cascade(gated, client):
    assert "edge first, then cloud if the gate says so" in gated.log
    assert {"cascade", "hasty"} <= {model.id for model in client.models.list()}
    with gated.client() as http:
        metrics = http.get("/metrics").text
    assert 'pointsman_gate_verdicts_total{arm="cascade",cause="drawn",verdict="accept"}' in metrics
    assert state(gated, "cascade") == {
        "ok": True,
        "detail": "edge first, then cloud",
        "queued": 0,
        "running": 0,
    }
