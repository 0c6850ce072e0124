"""``pointsman simulate`` as a process of its own, on the shipped world with the real features."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import MODELS

ROOT = Path(__file__).parents[2]


def pointsman(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "pointsman.py"), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate")
    MODELS.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir()
    (folder / "data" / "models").symlink_to(MODELS)
    return folder


def simulate(workplace, *arguments):
    return pointsman(
        "simulate", "synthetic", "--rounds", 300, "--rows", "0:300", "--workers", 1,
        "--data-dir", "data", *arguments, cwd=workplace,
    )  # fmt: skip


def test_a_study_runs_repeats_and_reports(workplace):
    policies = ("--policies", "composed,random,lints,oracle")
    once = simulate(workplace, *policies, "--json", "--out", "one")
    assert once.returncode == 0, once.stderr
    found = json.loads(once.stdout)
    assert list(found["policies"]) == ["composed", "random", "lints", "oracle"]
    assert json.loads((workplace / "one" / "results.json").read_text()) == found
    assert "svg" in (workplace / "one" / "report.html").read_text()
    again = simulate(workplace, *policies, "--out", "two")
    assert again.returncode == 0, again.stderr
    assert "composed" in again.stdout
    one, two = ((workplace / name / "results.json").read_bytes() for name in ("one", "two"))
    assert one == two
    other = simulate(workplace, *policies, "--seed", 1, "--json", "--drift", "silent-drop")
    assert json.loads(other.stdout)["policies"]["lints"] != found["policies"]["lints"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("missing.parquet", "--edge", "a", "--cloud", "b"), "no such file"),
        (("synthetic", "--edge", "smal-8b"), "did you mean 'small-8b'?"),
        (("synthetic", "--policies", "lunucb"), "did you mean 'linucb'?"),
        (("synthetic", "--drift", "silent-dorp"), "did you mean 'silent-drop'?"),
        (("synthetic", "--feedback-rate", "2"), "--feedback-rate"),
        (("synthetic", "--weights", "1,1,1"), "sum to 1"),
        (("synthetic", "--policies", "composed[gama=1]"), "did you mean 'gamma'?"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_exit_code_2(tmp_path, arguments, expected):
    done = pointsman("simulate", *arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
