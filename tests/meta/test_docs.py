"""The docs say what is so."""

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bandit.policies.config import PolicyConfig
from bandit.policies.guarded import GuardConfig
from serving.settings import Settings
from tools import settings_doc

ROOT = Path(__file__).parents[2]


def test_the_page_of_settings_is_what_the_code_says():
    assert (ROOT / "docs/settings.md").read_text() == settings_doc.render()


def test_every_setting_is_described():
    for line in settings_doc.render().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_the_policy_settings_default_to_the_policys_own():
    policy = Settings().policy
    core = PolicyConfig()
    assert policy.model_dump(exclude={"draw_seed", "challengers", "promotion_alpha"}) == {
        "name": core.name,
        "gamma": core.gamma,
        "drift": core.drift,
        "detector": core.detector,
        "alarm_threshold": core.alarm_threshold,
        "widen": core.widen,
        "forgetting": core.forgetting,
        "newcomer": core.newcomer,
        "floor": core.floor,
        "gamma_votes": core.gamma_votes,
    }


def test_the_guards_settings_default_to_the_guards_own():
    assert Settings().guard.model_dump(exclude={"enabled"}) == asdict(GuardConfig())


def test_every_command_that_the_readme_names_exists():
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?<![\w/.-])pointsman ([a-z]+)(?: ([a-z]+))?", readme))
    for command, sub in sorted(named):
        words = (
            [command, sub]
            if command in {"alarms", "keys", "bench", "features"} and sub
            else [command]
        )
        done = subprocess.run(
            [sys.executable, "-m", "pointsman", *words, "--help"], capture_output=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr.decode()[-300:])


def test_every_file_that_the_docs_link_to_exists():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)
