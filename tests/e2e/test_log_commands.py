"""``pointsman evaluate`` and ``pointsman replay`` on the log of a server that really ran."""

import json

import pytest

from tests.running import STAND_IN_ARM, RunningServer, judged_answer

ARMS = [{**STAND_IN_ARM, "id": "cloud"}, {**STAND_IN_ARM, "id": "other"}]


@pytest.fixture(scope="module")
def used():
    """A server with two arms, forty judged answers, and a snapshot."""
    # With less exploration a random policy agrees with so few draws that none may be kept.
    running = RunningServer({"arms": ARMS, "policy": {"floor": 0.2}})
    try:
        running.start()
        with running.client() as client:
            for i in range(40):
                judged_answer(client, f"say {i}", worth={"cloud": 0.3, "other": 0.9})
        yield running
    finally:
        running.stop()
        running.clear()


def test_candidates_are_valued_from_the_log(used):
    done = used.cli("evaluate", "--candidate", "logged", "--candidate", "always:other", "--json")
    assert done.returncode == 0, done.stderr
    logged, other = json.loads(done.stdout)
    assert logged["n"] == 40
    assert other["candidate"] == "always:other"
    assert {e["method"] for e in other["estimates"]} >= {"ips", "snips", "dr"}
    shown = used.cli("evaluate", "--candidate", "snapshot:latest")
    assert "snips" in shown.stdout or "no such snapshot" in shown.stderr


def test_the_log_is_scored_by_a_scenario_that_it_never_knew(used):
    arguments = ("--weights", "0.6,0.4,0", "--mes", "0.3")
    done = used.cli("evaluate", *arguments, "--candidate", "logged", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    (scored,) = report["scenarios"]
    assert (report["scenario"], scored["scenario"], scored["n"]) == ("own", "own", 40)
    # Every answer is worth at least .3, so under this scenario all problems are solved.
    assert scored["solved"] == 1.0
    assert scored["rcs"] == pytest.approx(0.6 + 0.4 * scored["at_edge"])
    shown = used.cli("evaluate", "--candidate", "logged").stdout
    assert all(name in shown for name in ("quality", "speed", "economy", "balanced", "RCS"))


def test_the_log_is_replayed_and_says_what_it_is(used):
    done = used.cli("replay", "--policies", "random,lints", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "rejection sampling" in found["source"]
    assert found["decisions"] == 40
    assert 0 < found["policies"]["random"]["kept"] <= 40


def test_before_anything_happened_there_is_nothing_to_value(used):
    done = used.cli("evaluate", "--until", "2001-01-01", "--json")
    assert done.returncode == 0
    assert all(report["n"] == 0 for report in json.loads(done.stdout))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evaluate", "--candidate", "sometimes"), "--candidate"),
        (("evaluate", "--candidate", "always:zz"), "there are cloud, edge, other"),
        (("evaluate", "--candidate", "snapshot:none"), "no such snapshot"),
        (("evaluate", "--since", "soon"), "--since"),
        (("replay", "--policies", "oracle"), "full information"),
        (("replay", "--scenario", "fast"), "--scenario"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(used, arguments, expected):
    done = used.cli(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_a_log_no_database_is_made(tmp_path):
    running = RunningServer(data_dir=tmp_path)
    done = running.cli("evaluate")
    assert done.returncode == 2
    assert "no decision log there" in done.stderr
    assert list(tmp_path.iterdir()) == []
