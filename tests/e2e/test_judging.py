"""A running server with a judge: scores, audits, and what both say of the judge."""

import subprocess
import sys

import pytest

from tests.running import REPOSITORY, RunningServer, clean_environment, until

ASK = "What is {} + {}?"
STAND_INS = [
    {"id": "edge", "tier": "edge", "backend": "stand_in"},
    {"id": "cloud", "tier": "cloud", "backend": "stand_in"},
]
JUDGE = {
    "enabled": True,
    "backend": "stand_in",
    "sample_rate": 1.0,
    "max_per_minute": 6000,
    "audit_rate": 1.0,
}


@pytest.fixture(scope="module")
def judged():
    settings = {
        "arms": STAND_INS,
        "judge": JUDGE,
        "privacy": {"store_prompts": True, "store_answers": True},
    }
    running = RunningServer(settings)
    try:
        yield running.start()
    finally:
        running.stop()
        running.clear()


@pytest.fixture
def client(judged):
    with judged.client() as client:
        yield client


def ask(client, n):
    messages = [{"role": "user", "content": ASK.format(n, n)}]
    return client.post("/v1/chat/completions", json={"messages": messages}).json()["id"]


def test_scores_come_by_themselves_and_people_correct_them(judged, client):
    ids = [ask(client, n) for n in range(6)]
    shown = until(lambda: _scores(client, ids[0]))
    assert shown[0]["source"] == "judge:pointsman-stand-in"
    until(lambda: client.get("/v1/audits/next?limit=100").json()["waiting"] == 6)
    first = client.get("/v1/audits/next").json()["data"][0]
    assert "What is" in first["prompt"]
    assert "[stand-in cloud]" in first["answer"]
    assert "score" not in str(first)
    body = {**first["feedback"], "value": 2}
    assert client.post("/v1/feedback", json=body).json()["will_apply"] is True
    assert client.get("/v1/audits/next").json()["waiting"] == 5
    second = client.get("/v1/audits/next").json()["data"][0]["decision_id"]
    told = judged.cli("audits", "answer", second, "1", "--url", judged.base_url)
    assert told.returncode == 0, told.stderr
    (judge,) = until(lambda: [j for j in _judges(client) if j["audits"] == 2])
    assert judge["judge"] == "judge:pointsman-stand-in"
    assert judge["bias"]["value"] > 0.5
    assert 0.0 < judge["coverage"] <= 1.0
    table = judged.cli("judges", "--url", judged.base_url)
    assert "pointsman-stand-in" in table.stdout
    assert "4 wait" in judged.cli("audits", "next", "--url", judged.base_url).stdout


def test_health_and_metrics_say_how_judging_goes(client):
    ask(client, 50)
    health = until(lambda: _counted(client.get("/health/learn").json()))
    assert health["judge"]["stand_in"] is True
    assert "pointsman_judge_total" in client.get("/metrics").text


def test_a_judge_of_its_own_reads_the_log(judged, client):
    """What a caller ran itself never passes the server's own judge: the score is the other's."""

    def scored():
        messages = [{"role": "user", "content": ASK.format(7, 7)}]
        decision_id = client.post("/v1/route", json={"messages": messages}).json()["decision_id"]
        outcome = {"latency_s": 0.1, "answer": "It is 14."}
        client.post(f"/v1/decisions/{decision_id}/outcome", json=outcome)
        asked.append(decision_id)
        return any(_scores(client, id_) for id_ in asked)

    asked = []
    settings = judged.data_dir / "settings.yaml"
    process = subprocess.Popen(
        [sys.executable, "-m", "pointsman", "judge", "--config", str(settings)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=clean_environment(POINTSMAN_DATABASE__DATA_DIR=str(judged.data_dir)),
    )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or scored(), 60, every_s=0.3)
    finally:
        process.terminate()
        out = process.communicate(timeout=30)[0]
    assert process.returncode == 0, out


def test_without_stored_texts_a_judge_of_its_own_says_what_to_do(judged):
    told = judged.cli("judge")
    assert told.returncode == 2
    assert "privacy.store_prompts" in told.stderr


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"enabled": True}, "base_url and model"),
        ({"enabled": True, "base_url": "ftp://x", "model": "m"}, "http://"),
        ({"sample_rate": 1.5}, "judge.sample_rate"),
        ({"max_usd_per_day": -1}, "judge.max_usd_per_day"),
        ({"audit_strategy": "best"}, "judge.audit_strategy"),
        ({"sample_rat": 0.5}, "sample_rate"),
    ],
    ids=str,
)
def test_a_judge_that_cannot_work_is_refused_before_anything_is_served(judged, section, words):
    import json

    path = judged.data_dir / "bad.yaml"
    path.write_text(json.dumps({"judge": section}))
    told = judged.cli("check", "--config", str(path))
    assert told.returncode == 2
    assert words in told.stderr


def _scores(client, response_id):
    id_ = f"dec_{response_id.removeprefix('chatcmpl-').removeprefix('dec_')}"
    found = client.get(f"/v1/decisions/{id_}").json()
    return [row for row in found["feedback"] if row["metric"] == "judge"]


def _judges(client):
    return client.get("/v1/judges").json()["data"]


def _counted(health):
    return health if health["judge"]["counts"].get("scored") else None
