"""What bad input gets: a clear 4xx in OpenAI's shape, and nothing stored."""

import json

import pytest

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
NOBODY = "dec_" + "0" * 32


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def judged(server):
    with server.client() as client:
        return client.post("/v1/route", json=HELLO).json()["decision_id"]


def refused(reply, status, *, code=None, param=None):
    """The error of ``reply``, which must have OpenAI's shape."""
    assert reply.status_code == status, reply.text[:500]
    assert set(reply.json()) == {"error"}
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "detail" not in reply.json()
    assert reply.headers["x-request-id"]
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param
    return error


def raw_post(client, path, content, **headers):
    return client.post(
        path, content=content, headers={"content-type": "application/json", **headers}
    )


VALUES = [
    ("thumbs", "NaN"),
    ("thumbs", "Infinity"),
    ("judge", "-Infinity"),
    ("judge", "1e999"),
    ("judge", "1e308"),
    ("judge", "-0.001"),
    ("judge", "1.001"),
    ("judge", '"0.5"'),
    ("judge", '"inf"'),
    ("judge", "true"),
    ("judge", "[0.5]"),
    ("judge", "{}"),
    ("judge", "9" * 5000),
    ("thumbs", "0.5"),
    ("thumbs", "2"),
    ("thumbs", '"UP"'),
    ("thumbs", '"' + "u" * 5000 + '"'),
    ("rating", "0"),
    ("rating", "6"),
    ("rating", '"5"'),
    ("rating", "true"),
    ("task_success", "0.5"),
    ("task_success", '"yes"'),
    ("fame", "1"),
    ("", "1"),
]


@pytest.mark.parametrize(("metric", "value"), VALUES, ids=[f"{m}={v[:12]}" for m, v in VALUES])
def test_a_value_out_of_range_is_refused_and_not_stored(client, judged, metric, value):
    body = f'{{"decision_id": "{judged}", "metric": "{metric}", "value": {value}}}'
    reply = raw_post(client, "/v1/feedback", body)
    # A literal that is not JSON is a bad body; a number out of range is a bad field.
    not_json = value in ("NaN", "Infinity", "-Infinity", "1e999") or len(value) == 5000
    error = refused(reply, 400 if not_json else 422)
    if not not_json:
        assert error["param"] in ("value", "metric")
    assert client.get(f"/v1/decisions/{judged}").json()["feedback"] == []


FIELDS = [
    ({"metric": "thumbs", "value": 1}, "decision_id"),
    ({"decision_id": "ID", "value": 1}, "metric"),
    ({"decision_id": "ID", "metric": "thumbs"}, "value"),
    ({"decision_id": 7, "metric": "thumbs", "value": 1}, "decision_id"),
    ({"decision_id": "ID", "metric": 3, "value": 1}, "metric"),
    ({"decision_id": "ID", "metric": "stars", "value": "good"}, "metric"),
    ({"decision_id": "ID", "metric": "stars", "value": None}, "metric"),
    ({"decision_id": "ID", "metric": "stars"}, "metric"),
    ({"decision_id": "ID", "metric": "thumbs", "value": "good"}, "value"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "source": ""}, "source"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "source": "a\nb"}, "source"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "source": "a" * 65}, "source"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "comment": "x" * 5000}, "comment"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "comment": 5}, "comment"),
    ({"decision_id": "ID", "metric": "comment"}, "comment"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "tags": ["a"]}, "tags"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "tags": {"a": 1}}, "tags"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "occurred_at": "now"}, "occurred_at"),
    ({"decision_id": "ID", "metric": "thumbs", "value": 1, "occurred_at": 1}, "occurred_at"),
    (
        {"decision_id": "ID", "metric": "thumbs", "value": 1, "occurred_at": "2026-01-01T00:00:00"},
        "occurred_at",
    ),
    *(
        ({"decision_id": "ID", "metric": "thumbs", "value": 1, "occurred_at": time}, "occurred_at")
        for time in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
    ),
]


@pytest.mark.parametrize(
    ("body", "param"), FIELDS, ids=[f"{p}-{i}" for i, (_, p) in enumerate(FIELDS)]
)
def test_a_field_that_cannot_be_used_is_named(client, judged, body, param):
    sent = {name: judged if value == "ID" else value for name, value in body.items()}
    refused(client.post("/v1/feedback", json=sent), 422, param=param)


def test_a_misspelt_field_gets_a_suggestion(client, judged):
    body = {"decision_id": judged, "metric": "thumbs", "vlaue": 1}
    error = refused(client.post("/v1/feedback", json=body), 422, param="vlaue")
    assert "did you mean 'value'" in error["message"]


@pytest.mark.parametrize(
    "wrong", [NOBODY, "dec_1", "", "x" * 100_000, "dec_" + "g" * 32, "' OR 1=1"]
)
def test_an_id_that_was_never_issued_is_not_found(client, wrong):
    body = {"decision_id": wrong, "metric": "thumbs", "value": 1}
    refused(client.post("/v1/feedback", json=body), 404, code="decision_not_found")


BODIES = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b"[]", "invalid_json"),
    (b"null", "invalid_json"),
    (b'"text"', "invalid_json"),
    (b'{"a": NaN}', "invalid_json"),
    (b"\xff\xfe{}", "invalid_json"),
    (b'{"a": "\xff"}', "invalid_json"),
    (b'{"a": "\xed\xa0\x80"}', "invalid_json"),
    (b'{"a": "\\ud800"}', "invalid_json"),
    (b'{"a": "\\u0000"}', "nul_character"),
    (b'{"a": "x\x00y"}', "invalid_json"),
    (b"[" * 100_000, "too_deep"),
    (b'{"a":' * 100_000, "too_deep"),
    (b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", "too_deep"),
    (b'{"a": "]]]]", "b": ' + b"[" * 70 + b"]" * 70 + b"}", "too_deep"),
]
PATHS = [
    "/v1/chat/completions",
    "/v1/route",
    "/v1/feedback",
    "/v1/feedback/batch",
    f"/v1/decisions/{NOBODY}/outcome",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "code"), BODIES, ids=[str(b[:12]) for b, _ in BODIES])
def test_a_body_that_is_no_json_object_is_refused(client, path, body, code):
    refused(raw_post(client, path, body), 400, code=code)


def test_brackets_in_a_text_are_no_nesting(client):
    body = {"messages": [{"role": "user", "content": '[{"' * 200 + "\\" * 33}]}
    assert client.post("/v1/route", json=body).status_code == 200


def test_an_escaped_backslash_before_u0000_is_no_nul(client):
    body = r'{"messages": [{"role": "user", "content": "print \\u0000"}]}'
    assert raw_post(client, "/v1/route", body).status_code == 200


def test_of_a_name_that_comes_twice_the_last_counts(client):
    body = '{"model": "nobody", "model": "auto", "messages": [{"role": "user", "content": "x"}]}'
    assert raw_post(client, "/v1/route", body).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_body_over_the_limit_is_refused_by_its_header(client, path):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 10_000_000}]})
    refused(raw_post(client, path, body), 413, code="body_too_large")


def test_a_body_over_the_limit_is_refused_while_it_streams(client):
    def parts():
        for _ in range(100):
            yield b" " * 100_000

    refused(raw_post(client, "/v1/feedback", parts()), 413, code="body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/feedback", 405),
        ("DELETE", "/v1/chat/completions", 405),
        ("PUT", "/v1/models", 405),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/v1/decisions/dec_1", 404),
        ("GET", f"/v1/decisions/{NOBODY}", 404),
        ("GET", "/v1/decisions/%00", 404),
        ("GET", "/v1/decisions/%ff", 404),
        ("POST", f"/v1/decisions/{NOBODY}/outcome", 400),
    ],
)
def test_what_is_not_there_is_refused_in_the_same_shape(client, method, path, status):
    refused(client.request(method, path), status)


@pytest.mark.parametrize("key", ["", "a" * 129, "a b", "é", "a\tb"])
def test_an_unsafe_idempotency_key_is_refused(client, judged, key):
    body = {"decision_id": judged, "metric": "thumbs", "value": "down"}
    headers = {"idempotency-key": key.encode()}
    refused(client.post("/v1/feedback", json=body, headers=headers), 400, param="Idempotency-Key")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"feedback": []},
        {"feedback": {}},
        {"feedback": [{}] * 1001},
        {"feedback": [{}], "more": 1},
        {"items": [{}]},
    ],
)
def test_a_batch_that_is_none_is_refused(client, body):
    refused(client.post("/v1/feedback/batch", json=body), 422)


OUTCOMES = [
    ({}, "latency_s"),
    ({"latency_s": -1}, "latency_s"),
    ({"latency_s": "1"}, "latency_s"),
    ({"latency_s": True}, "latency_s"),
    ({"cost_usd": 1e300}, "cost_usd"),
    ({"tokens_in": 1.5}, "tokens_in"),
    ({"tokens_out": -1}, "tokens_out"),
    ({"latency_s": 1, "arm": "nobody"}, "arm"),
    ({"latency_s": 1, "failure": "bored"}, "failure"),
    ({"latency_s": 1, "model": "m" * 300}, "model"),
    ({"latency": 1}, "latency"),
    ({"latency_s": 1, "occurred_at": "0001-01-01T00:00:00+23:59"}, "occurred_at"),
]


@pytest.mark.parametrize(("body", "param"), OUTCOMES, ids=[str(b)[:30] for b, _ in OUTCOMES])
def test_an_outcome_that_cannot_be_is_refused(client, judged, body, param):
    refused(client.post(f"/v1/decisions/{judged}/outcome", json=body), 422, param=param)


HOSTILE = [
    "x'; DROP TABLE decisions; --",
    "|e namespace:1 \n1:0:0.5 |x",
    "<script>alert(1)</script>",
    '{"level":"error"}\n{"forged":true}',
    "\u202eright to left\u200b zero width",
    "🚂" * 100,
    "\r\nset-cookie: a=b",
    "${jndi:ldap://x}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_just_text(client, judged, text):
    messages = [{"role": "user", "content": text}]
    body = {"messages": messages, "user": text, "metadata": {"team": text}}
    assert client.post("/v1/route", json=body).status_code == 200
    judgement = {"decision_id": judged, "metric": "comment", "comment": text, "tags": {"t": text}}
    assert client.post("/v1/feedback", json=judgement).status_code == 201
    kept = client.get(f"/v1/decisions/{judged}").json()["feedback"][-1]
    assert (kept["comment"], kept["tags"]) == (text, {"t": text})
    refused(client.post("/v1/route", json={**body, "model": text}), 404, code="model_not_found")


def test_a_caller_cannot_name_the_upstream(client):
    body = {**HELLO, "model": "cloud", "max_tokens": 3, "api_base": "http://127.0.0.1:1/v1"}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["model"] == "pointsman-stand-in"


@pytest.mark.parametrize(
    ("given", "echoed"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("é", False)],
)
def test_a_request_id_is_echoed_if_it_is_safe(client, given, echoed):
    reply = client.get("/health/live", headers={"x-request-id": given.encode()})
    assert (reply.headers["x-request-id"] == given) is echoed


def test_the_log_has_no_text_of_anyone_and_no_forged_line(server, client):
    client.post("/v1/route", json={"messages": [{"role": "user", "content": "secret plans"}]})
    client.get("/health/live", headers={"authorization": "Bearer sk-abcdefghijklmnop"})
    lines = [line for line in server.log.splitlines() if line.startswith("{")]
    assert "secret plans" not in server.log
    assert "sk-abcdefghijklmnop" not in server.log
    assert all("event" in json.loads(line) for line in lines)


def test_nothing_in_this_suite_was_an_unforeseen_error(server):
    assert "unforeseen error" not in server.log
