"""``pointsman report`` on the log of a server that really ran."""

import json
import re

import pytest

from tests.running import STAND_IN_ARM, RunningServer, judged_answer, until

ARMS = [
    {**STAND_IN_ARM, "id": "edge", "tier": "edge", "price_in": 0.1, "price_out": 0.2},
    {**STAND_IN_ARM, "id": "cloud"},
]
N_ASKED, N_PINNED = 40, 3


@pytest.fixture(scope="module")
def used():
    """Forty answers in twenty sessions, judged by a grader, and three that were asked of an arm."""
    running = RunningServer({"arms": ARMS, "policy": {"floor": 0.3}})
    try:
        running.start()
        with running.client() as client:
            for i in range(N_ASKED + N_PINNED):
                judged_answer(
                    client,
                    f"say {i}",
                    worth={"edge": 0.3, "cloud": 0.9},
                    model="auto" if i < N_ASKED else "cloud",
                    pointsman={"session_id": f"s{i // 2}"},
                )
        until(lambda: report(running)["decisions"]["failed"] == 0)
        yield running
    finally:
        running.stop()
        running.clear()


def report(running, *arguments):
    done = running.cli("report", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_figures_are_those_of_the_decisions_made(used):
    found = report(used)
    assert found["decisions"]["all"] == N_ASKED + N_PINNED
    assert found["decisions"]["forced"] == {"pin": N_PINNED}
    assert found["decisions"]["compared"] == N_ASKED
    assert found["judged"]["by"][0]["source"] == "grader"
    compared = found["compared"]
    models = {m["arm"]: m for m in compared["single_models"]}
    assert compared["always_cloud"] == "cloud"
    assert compared["always_edge"] == "edge"
    assert models["cloud"]["quality"]["value"] == pytest.approx(0.9)
    assert models["edge"]["quality"]["value"] == pytest.approx(0.3)
    kept = compared["kept_at_edge"]["queries"]
    assert kept["value"] == pytest.approx(models["edge"]["seen"] / N_ASKED)
    assert found["served"]["spend_usd"] == pytest.approx(
        sum(arm["spend_usd"] for arm in found["arms"])
    )
    assert found["verdict"]["earns"] is not True


def test_the_terminal_says_it_in_words(used):
    done = used.cli("report")
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert re.search("earn its keep yet|cannot be said", first)
    for said in (
        "too few judged answers",
        "kept at the edge",
        "always cloud",
        "by grader",
        "STAND-IN",
    ):
        assert said in done.stdout


def test_the_page_is_written(used, tmp_path):
    page = tmp_path / "report.html"
    done = used.cli("report", "--html", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "Does the router earn its keep?" in text
    assert "<svg" in text


def test_a_stretch_without_decisions_is_said_plainly(used):
    done = used.cli("report", "--until", "2001-01-01")
    assert done.returncode == 0
    assert done.stdout.startswith("There are no decisions")


def test_decisions_are_chosen_by_tag_and_scenario(used):
    assert report(used, "--tag", "session_id=s0", "--scenario", "balanced")["decisions"]["all"] == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--scenario", "balancd"), "did you mean 'balanced'"),
        (("--html", "/nowhere/at/all.html"), "--html"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(used, arguments, expected):
    done = used.cli("report", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
