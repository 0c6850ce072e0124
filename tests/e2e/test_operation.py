"""Keys, health, metrics and the command line of real servers."""

import json

import pytest

from tests.running import RunningServer, until

HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
NOBODY = "dec_" + "0" * 32
JUDGEMENT = {"decision_id": NOBODY, "metric": "thumbs", "value": 1}
# method, path, body, scope, status with the scope
ROUTES = [
    ("POST", "/v1/chat/completions", HELLO, "inference", 200),
    ("POST", "/chat/completions", HELLO, "inference", 200),
    ("GET", "/v1/models", None, "inference", 200),
    ("GET", "/v1/models/auto", None, "inference", 200),
    ("POST", "/v1/route", HELLO, "inference", 200),
    ("POST", "/v1/feedback", JUDGEMENT, "feedback", 404),
    ("POST", "/v1/feedback/batch", {"feedback": [JUDGEMENT]}, "feedback", 200),
    ("GET", f"/v1/decisions/{NOBODY}", None, "feedback", 404),
    ("POST", f"/v1/decisions/{NOBODY}/outcome", {"latency_s": 1}, "feedback", 404),
    ("POST", "/v1/reload", None, "admin", 200),
    ("GET", "/v1/budgets", None, "admin", 200),
    ("GET", "/v1/alarms", None, "admin", 200),
    ("GET", "/v1/judges", None, "feedback", 200),
    ("GET", "/v1/audits/next", None, "feedback", 200),
    ("GET", "/metrics", None, "admin", 200),
]
OPEN = {"/health", "/health/live", "/health/ready", "/health/learn"}
DOCUMENTS = {"/openapi.json", "/docs"}


@pytest.fixture(scope="module")
def keys(locked):
    return {scope: locked.key(scope) for scope in ("inference", "feedback", "admin")}


def ask(server, key, method, path, body):
    with server.client(key) as client:
        return client.request(method, path, json=body)


@pytest.mark.parametrize("route", ROUTES, ids=[f"{method} {path}" for method, path, *_ in ROUTES])
def test_every_route_wants_its_scope(locked, keys, route):
    method, path, body, scope, status = route
    assert ask(locked, None, method, path, body).status_code == 401
    assert ask(locked, "sk-pm-wrong", method, path, body).status_code == 401
    for other, key in keys.items():
        expected = status if other in (scope, "admin") else 403
        assert ask(locked, key, method, path, body).status_code == expected, other


def _template(path):
    return path.replace(NOBODY, "{decision_id}").replace("/models/auto", "/models/{name}")


def test_no_route_was_left_out(locked):
    with locked.client() as client:
        documented = set(client.get("/openapi.json").json()["paths"])
    checked = {_template(path) for _, path, *_ in ROUTES}
    assert documented - OPEN - DOCUMENTS <= checked


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8080", 200),
    ],
)
def test_a_web_page_from_elsewhere_cannot_use_an_open_server(server, origin, status):
    with server.client() as client:
        reply = client.post("/v1/route", json=HELLO, headers={"origin": origin})
    assert reply.status_code == status
    assert "access-control-allow-origin" not in reply.headers


def test_a_refused_key_is_told_in_openais_shape(locked):
    reply = ask(locked, "sk-pm-wrong", "GET", "/v1/models", None)
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert reply.headers["www-authenticate"] == "Bearer"


def test_a_key_that_asks_too_often_is_told_when_it_may_again(locked):
    asked = ("keys", "create", "--scope", "inference", "--max-requests-per-minute", "2", "--json")
    key = json.loads(locked.cli(*asked).stdout)["key"]
    replies = [ask(locked, key, "GET", "/v1/models", None) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    error = replies[-1].json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(replies[-1].headers["retry-after"]) <= 30
    assert ask(locked, locked.first_key, "GET", "/v1/models", None).status_code == 200


def test_another_keys_decision_looks_like_one_that_does_not_exist(locked):
    first, second = locked.key("inference", "feedback"), locked.key("inference", "feedback")
    made = ask(locked, first, "POST", "/v1/route", HELLO).json()["decision_id"]
    replies = []
    for decision_id in (made, NOBODY):
        body = {**JUDGEMENT, "decision_id": decision_id}
        reply = ask(locked, second, "POST", "/v1/feedback", body)
        replies.append((reply.status_code, reply.text.replace(decision_id, "ID")))
    assert replies[0] == replies[1]
    assert replies[0][0] == 404
    body = {**JUDGEMENT, "decision_id": made}
    assert ask(locked, first, "POST", "/v1/feedback", body).status_code == 201


def test_a_feedback_key_judges_for_the_key_that_it_was_made_for(locked):
    first, second = locked.key("inference"), locked.key("inference")
    asked = locked.cli(
        "keys", "create", "--scope", "feedback", "--for", first.split("-")[2], "--json"
    )
    judge = json.loads(asked.stdout)["key"]
    replies = []
    for key in (first, second):
        made = ask(locked, key, "POST", "/v1/route", HELLO).json()["decision_id"]
        body = {**JUDGEMENT, "decision_id": made}
        replies.append(ask(locked, judge, "POST", "/v1/feedback", body).status_code)
    assert replies == [201, 404]


def test_a_key_that_can_judge_nothing_says_so(locked):
    alone = locked.cli("keys", "create", "--scope", "feedback")
    assert alone.returncode == 0
    assert "can judge nothing" in alone.stderr


def test_the_first_request_that_a_locked_server_suggests_has_a_key(locked):
    assert "authorization: Bearer YOUR_KEY" in locked.log


def test_a_revoked_key_is_refused_at_once(locked):
    key = locked.key("inference")
    assert ask(locked, key, "GET", "/v1/models", None).status_code == 200
    assert locked.cli("keys", "revoke", key.split("-")[2]).returncode == 0
    assert ask(locked, key, "GET", "/v1/models", None).status_code == 401


def test_no_secret_is_in_the_log(locked, keys):
    secrets = [key.rsplit("-", 1)[1] for key in keys.values()]
    assert all(secret not in locked.log for secret in secrets)


def test_a_healthy_server_is_alive_ready_and_able_to_learn(server):
    with server.client() as client:
        assert client.get("/health/live").status_code == 200
        ready = client.get("/health/ready")
        learn = client.get("/health/learn")
    assert ready.status_code == 200
    assert (ready.json()["mode"], ready.json()["database"]) == ("full", "ok")
    assert learn.status_code == 200
    assert learn.json()["learner"] == "leads"


def test_a_broken_model_file_leaves_the_cloud_and_says_so(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    arms = [
        {"id": "edge", "tier": "edge", "backend": "llama_cpp", "model_path": str(broken)},
        {"id": "cloud", "tier": "cloud", "backend": "stand_in"},
    ]
    running = RunningServer({"arms": arms})
    try:
        running.start()
        with running.client() as client:
            ready = client.get("/health/ready")
            assert ready.status_code == 200
            assert ready.json()["mode"] == "cloud only"
            assert "broken.gguf" in ready.json()["arms"]["edge"]["detail"]
            answer = client.post("/v1/chat/completions", json=HELLO)
            assert answer.headers["x-pointsman-arm"] == "cloud"
        assert running.stop() == 0
    finally:
        running.clear()


def test_the_documentation_describes_every_path_and_needs_no_internet(server):
    with server.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
        shown = client.get("/docs")
    assert "requestBody" in paths["/v1/chat/completions"]["post"]
    assert "requestBody" in paths["/v1/route"]["post"]
    assert {"/v1/models", "/v1/feedback", "/v1/decisions/{decision_id}"} < set(paths)
    assert shown.status_code == 200
    assert all(path in shown.text for path in paths)
    assert "//" not in shown.text.replace("<!DOCTYPE", "")
    assert "<script" not in shown.text


def test_metrics_count_what_happened(server):
    with server.client() as client:
        client.post("/v1/chat/completions", json={**HELLO, "model": "cloud"})
        client.get("/nowhere-in-particular")
        text = client.get("/metrics").text
    assert 'pointsman_decisions_total{arm="cloud",reason="pin"}' in text
    assert 'pointsman_requests_total{code="200",endpoint="/v1/chat/completions"}' in text
    assert "nowhere-in-particular" not in text


def test_every_request_has_one_log_line_with_its_id(server):
    with server.client() as client:
        client.post("/v1/route", json=HELLO, headers={"x-request-id": "look-for-me"})
    lines = until(lambda: [line for line in server.log.splitlines() if "look-for-me" in line])
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert (line["endpoint"], line["status"]) == ("/v1/route", 200)
    assert line["decision_id"].startswith("dec_")


def test_the_command_line_routes_and_judges(server):
    url = ("--url", server.base_url, "--json")
    routed = json.loads(server.cli("route", "What is 2 + 2?", *url).stdout)
    told = json.loads(server.cli("feedback", routed["decision_id"], "up", *url).stdout)
    assert told["will_apply"] is True
    refused = server.cli("feedback", NOBODY, "up", *url)
    assert refused.returncode == 1
    assert "no decision" in refused.stderr


def test_an_open_port_without_a_key_is_refused(tmp_path):
    running = RunningServer(data_dir=tmp_path, arguments=("--host", "0.0.0.0"))
    with pytest.raises(AssertionError, match="pointsman keys create"):
        running.start()
    assert running.process.returncode == 2


def test_a_taken_port_is_named(server, tmp_path):
    running = RunningServer(data_dir=tmp_path)
    running.port = server.port
    with pytest.raises(AssertionError, match=r"server\.port: cannot listen"):
        running.start()
    assert running.process.returncode == 2


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("migrate",), ("doctor",)])
def test_a_data_folder_that_cannot_be_written_is_named(tmp_path, command):
    (tmp_path / "file").touch()
    done = RunningServer(data_dir=tmp_path / "file").cli(*command)
    assert done.returncode == (1 if command == ("doctor",) else 2)
    said = " ".join((done.stdout + done.stderr).split())
    assert "database.data_dir: " in said
    assert "cannot be written (Not a directory)" in said
    assert "Traceback" not in said


def test_check_prints_the_settings_without_secrets(server, tmp_path):
    config = tmp_path / "p.yaml"
    config.write_text("cloud: {base_url: 'https://x/v1', model: m, api_key: hunter2}\n")
    found = server.cli("check", "--config", str(config), "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["arms"][1]["base_url"] == "https://x/v1"
    assert "hunter2" not in found.stdout


def test_check_refuses_a_typo(server, tmp_path):
    config = tmp_path / "p.yaml"
    config.write_text("server:\n  prot: 1\n")
    found = server.cli("check", "--config", str(config))
    assert found.returncode == 2
    assert "p.yaml:2: server.prot: unknown setting; did you mean 'port'?" in found.stderr


def test_the_doctor_finds_a_model_file_that_is_none(server, tmp_path):
    config = tmp_path / "p.yaml"
    arms = [{"id": "edge", "tier": "edge", "backend": "llama_cpp", "model_path": str(config)}]
    config.write_text(json.dumps({"arms": arms, "server": {"port": 0}}))
    found = server.cli("doctor", "--config", str(config), "--json")
    findings = {finding["what"]: finding for finding in json.loads(found.stdout)}
    assert found.returncode == 1
    assert findings["arm edge"]["verdict"] == "problem"
    assert "GGUF" in findings["arm edge"]["detail"]
    assert findings["database"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("model", "verdict"), [("/no/such/folder", "problem"), ("no-such-model", "warning")]
)
def test_the_doctor_finds_an_embedding_model_that_is_not_here(server, tmp_path, model, verdict):
    config = tmp_path / "p.yaml"
    config.write_text(json.dumps({"features": {"model": model}, "server": {"port": 0}}))
    found = server.cli("doctor", "--config", str(config), "--json")
    findings = {finding["what"]: finding for finding in json.loads(found.stdout)}
    assert findings["embedding model"]["verdict"] == verdict
    assert model in findings["embedding model"]["detail"]
