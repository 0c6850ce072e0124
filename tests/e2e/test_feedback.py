"""Feedback on a real server: acknowledged, shown, changed, withdrawn, learned."""

import pytest

from tests.running import until

HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def decision_id(client):
    return client.post("/v1/route", json=HELLO).json()["decision_id"]


def vote(client, decision_id, value="up", **more):
    body = {"decision_id": decision_id, "metric": "thumbs", "value": value, **more}
    return client.post("/v1/feedback", json=body)


def test_a_vote_is_recorded_and_shown(client, decision_id):
    reply = vote(client, decision_id, comment="well put")
    assert reply.status_code == 201
    told = reply.json()
    assert (told["status"], told["will_apply"], told["reason"]) == ("recorded", True, None)
    shown = client.get(f"/v1/decisions/{decision_id}").json()
    assert [row["feedback_id"] for row in shown["feedback"]] == [told["feedback_id"]]
    assert shown["reward"]["quality"] == 1.0


def test_a_response_id_is_as_good_as_a_decision_id(client):
    answer = client.post("/v1/chat/completions", json=HELLO)
    response_id = answer.json()["id"]
    assert response_id.startswith("chatcmpl-")
    told = vote(client, response_id).json()
    assert told["decision_id"] == answer.headers["x-pointsman-decision-id"]


@pytest.mark.parametrize(
    ("metric", "value", "quality"),
    [
        ("thumbs", "up", 1.0),
        ("thumbs", "down", 0.0),
        ("thumbs", True, 1.0),
        ("thumbs", 0, 0.0),
        ("rating", 5, 1.0),
        ("rating", 2.0, 0.25),
        ("judge", 0.4, 0.4),
        ("task_success", False, 0.0),
        ("task_success", 1, 1.0),
    ],
)
def test_every_metric_becomes_a_quality(client, decision_id, metric, value, quality):
    body = {"decision_id": decision_id, "metric": metric, "value": value}
    assert client.post("/v1/feedback", json=body).status_code == 201
    shown = client.get(f"/v1/decisions/{decision_id}").json()
    assert shown["reward"]["quality"] == pytest.approx(quality)


def test_tensorzeros_field_names_are_understood(client, decision_id):
    body = {"inference_id": decision_id, "metric_name": "thumbs", "value": True}
    assert client.post("/v1/feedback", json=body).status_code == 201


def test_a_comment_alone_is_kept_and_not_learned(client, decision_id):
    body = {"decision_id": decision_id, "metric": "comment", "comment": "hm"}
    told = client.post("/v1/feedback", json=body).json()
    assert (told["will_apply"], told["reason"]) == (False, "comment")


def test_a_vote_can_be_changed_and_withdrawn(client, decision_id):
    def quality():
        return client.get(f"/v1/decisions/{decision_id}").json()["reward"]["quality"]

    vote(client, decision_id, "up")
    vote(client, decision_id, "down")
    assert quality() == 0.0
    assert vote(client, decision_id, None).status_code == 201
    assert quality() is None


def test_the_same_vote_twice_counts_once(client, decision_id):
    assert vote(client, decision_id).json()["will_apply"] is True
    told = vote(client, decision_id).json()
    assert (told["will_apply"], told["reason"]) == (False, "duplicate")


def test_a_repeated_request_with_its_key_gets_the_same_reply(client, decision_id):
    headers = {"idempotency-key": f"once-{decision_id}"}
    body = {"decision_id": decision_id, "metric": "thumbs", "value": "up"}
    replies = [client.post("/v1/feedback", json=body, headers=headers) for _ in range(3)]
    assert len({reply.json()["feedback_id"] for reply in replies}) == 1
    shown = client.get(f"/v1/decisions/{decision_id}").json()
    assert len(shown["feedback"]) == 1


def test_a_key_used_with_another_body_is_a_conflict(client, decision_id):
    headers = {"idempotency-key": f"conflict-{decision_id}"}
    body = {"decision_id": decision_id, "metric": "thumbs", "value": "up"}
    client.post("/v1/feedback", json=body, headers=headers)
    reply = client.post("/v1/feedback", json={**body, "value": "down"}, headers=headers)
    assert reply.status_code == 409
    assert reply.json()["error"]["code"] == "idempotency_conflict"


def test_a_pinned_answer_is_judged_but_not_learned(client):
    answer = client.post("/v1/chat/completions", json={**HELLO, "model": "cloud"})
    told = vote(client, answer.json()["id"]).json()
    assert (told["will_apply"], told["reason"]) == (False, "forced")


def test_a_batch_has_a_result_for_every_item(client, decision_id):
    nobody = "dec_" + "0" * 32
    items = [
        {"decision_id": decision_id, "metric": "thumbs", "value": "up"},
        {"decision_id": nobody, "metric": "thumbs", "value": "up"},
        {"decision_id": decision_id, "metric": "rating", "value": 9},
        {"decision_id": decision_id, "metric": "judge", "value": 0.5, "source": "judge-1"},
        "nonsense",
    ]
    reply = client.post("/v1/feedback/batch", json={"feedback": items})
    assert reply.status_code == 200
    results = reply.json()["results"]
    assert [result["status"] for result in results] == [
        "recorded",
        "refused",
        "refused",
        "recorded",
        "refused",
    ]
    assert results[1]["error"]["code"] == "decision_not_found"
    assert results[2]["error"]["param"] == "value"
    assert len(client.get(f"/v1/decisions/{decision_id}").json()["feedback"]) == 2


def test_unknown_decisions_keep_nothing_else_of_a_large_batch_out(client, decision_id):
    ids = [f"dec_{n:032x}" for n in range(999)]
    items = [{"decision_id": i, "metric": "thumbs", "value": "up"} for i in (*ids, decision_id)]
    told = client.post("/v1/feedback/batch", json={"feedback": items}).json()
    assert told["recorded"] == 1
    named = [result["error"]["message"] for result in told["results"][:-1]]
    assert all(i in message for i, message in zip(ids, named, strict=True))


def test_a_repeated_batch_gets_the_same_receipts(client, decision_id):
    items = [
        {"decision_id": "dec_" + "1" * 32, "metric": "thumbs", "value": "up"},
        {"decision_id": decision_id, "metric": "thumbs", "value": "up"},
    ]
    headers = {"idempotency-key": f"batch-{decision_id}"}
    first, second = (
        client.post("/v1/feedback/batch", json={"feedback": items}, headers=headers).json()
        for _ in range(2)
    )
    assert first == second


def test_a_decision_explains_itself(client):
    answer = client.post("/v1/chat/completions", json=HELLO)
    shown = client.get(f"/v1/decisions/{answer.json()['id']}").json()
    assert shown["arm"] == answer.headers["x-pointsman-arm"]
    assert shown["reason_in_words"]
    assert sum(shown["pmf"].values()) == pytest.approx(1.0)
    assert {arm["arm"] for arm in shown["arms"]} == {"edge", "cloud"}
    assert shown["propensity"] == pytest.approx(shown["pmf"][shown["arm"]])
    assert shown["explanation_missing"] is None


def test_the_features_that_mattered_are_named(client, decision_id, server):
    vote(client, decision_id)
    learned_to(client)

    def named():
        made = client.post("/v1/route", json=HELLO).json()["decision_id"]
        shown = client.get(f"/v1/decisions/{made}").json()
        return [row for arm in shown["arms"] for row in arm["because"]]

    because = until(named)
    assert all("[" not in row["feature"] and row["adds"] for row in because)


def test_nothing_of_the_text_is_kept(client):
    body = {"messages": [{"role": "user", "content": "the launch code is rosebud"}]}
    made = client.post("/v1/route", json=body).json()["decision_id"]
    assert "rosebud" not in client.get(f"/v1/decisions/{made}").text


def test_an_outcome_reported_by_the_caller_completes_the_reward(client, decision_id):
    body = {"latency_s": 0.5, "cost_usd": 0.001, "tokens_in": 10, "tokens_out": 20}
    reply = client.post(f"/v1/decisions/{decision_id}/outcome", json=body)
    assert reply.status_code == 201
    vote(client, decision_id)
    shown = client.get(f"/v1/decisions/{decision_id}").json()
    assert shown["outcome"]["reported_by"] == "caller"
    assert shown["reward"]["complete"] is True


def test_an_outcome_is_told_once(client, decision_id):
    path = f"/v1/decisions/{decision_id}/outcome"
    assert client.post(path, json={"latency_s": 0.5}).status_code == 201
    assert client.post(path, json={"latency_s": 0.7}).status_code == 409


def test_a_vote_is_learned(client, decision_id):
    before = client.get("/health/learn").json()["n_interactions"]
    vote(client, decision_id)
    until(lambda: client.get("/health/learn").json()["n_interactions"] > before)


def learned_to(client):
    until(lambda: client.get("/health/learn").json()["lag_events"] == 0)
