"""Every engine gives the same bytes, and a report holds its numbers and pictures."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from simulator.drift import parse_plan
from simulator.engine import curves, results, run_study
from simulator.report import CAPTIONS
from simulator.session import write_folder
from tests import studies

PLAN = {
    "name": "test",
    "phases": [
        {"name": "A", "start": 0, "end": 60},
        {"name": "B", "start": 60, "end": 120},
    ],
    "events": [{"kind": "quality", "arm": "cloud", "by": -0.3, "start": 60}],
}
LABELS = ("composed", "direct", "random", "lints", "static-domain", "always-edge", "oracle")


@pytest.fixture(scope="module")
def study():
    return studies.study(
        120,
        policies=LABELS,
        seeds=(0, 1),
        plan=parse_plan(PLAN, source="test", rounds=120),
        budget_usd=0.0005,
    )


@pytest.fixture(scope="module")
def runs(study):
    return run_study(study, workers=1)


def text(study, runs):
    return json.dumps([results(study, runs), curves(study, runs)])


def test_two_processes_give_the_same_bytes_as_one(study, runs):
    assert text(study, run_study(study, workers=2)) == text(study, runs)


# Ray's own worker sockets are left to its shutdown.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_gives_the_same_bytes(study, runs):
    assert text(study, run_study(study, engine="ray", workers=2)) == text(study, runs)


def test_results_have_exactly_the_documented_shape(study, runs):
    found = results(study, runs)
    assert list(found) == ["table", "rounds", "seeds", "arms", "scenario", "policies"]
    measures = {
        "quality", "quality_low", "quality_high", "cost_usd", "latency_s", "reward", "regret",
        "share", "apgr", "cpt50", "cpt80", "rcs", "spend_over_budget",
            "p95_latency_s", "solved", "below_floor",
    }  # fmt: skip
    assert tuple(found["policies"]) == LABELS
    for policy in found["policies"].values():
        assert set(policy) == {"all", "halves", "phases"}
        assert set(policy["all"]) == measures
        assert [set(half) for half in policy["halves"]] == [measures, measures]
        assert [set(p) for p in policy["phases"]] == [measures | {"name", "start", "end"}] * 2
        assert set(policy["all"]["share"]) == {"edge", "cloud"}
        assert policy["all"]["quality_low"] <= policy["all"]["quality"]


def test_random_spends_what_ours_spends(study, runs):
    found = results(study, runs)["policies"]
    # 120 draws of at most $.001, two seeds: four standard errors are $.00012.
    assert found["random"]["all"]["cost_usd"] == pytest.approx(
        found["composed"]["all"]["cost_usd"], abs=0.00012
    )


def test_the_report_is_one_page_with_every_picture(study, runs, tmp_path):
    found, series = results(study, runs), curves(study, runs)
    write_folder(tmp_path / "out", study, found, series)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"results.json", "series.json", "report.html"} <= files
    page = (tmp_path / "out" / "report.html").read_text()
    for name in CAPTIONS:
        assert {f"{name}.svg", f"{name}.png"} <= files
        assert f"id='{name}'" in page
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ET.fromstring((tmp_path / "out" / f"{name}.svg").read_text())
    assert not re.search(r"<(?:script|link|img)\b|https?://(?!www\.w3\.org)", page)
    for label in LABELS:
        assert f"<td>{label}</td>" in page
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == found


def test_a_folder_is_written_whole_or_not_at_all(study, runs, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("simulator.report.write_report", fail)
    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "out", study, results(study, runs), curves(study, runs))
    assert list((tmp_path / "out").iterdir()) == []
