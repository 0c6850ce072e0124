"""Which snapshots may be continued: those that the log would have taught alike."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import Lineup, make_lineup
from bandit.policies.guarded import GuardConfig
from bandit.policies.league import LeagueConfig
from feedback.reward import RewardRules
from serving.replaying import lineage

CONFIG = PolicyConfig(schema={"constant": 1})
PLAIN = Lineup(CONFIG)
RIVALS = Lineup(CONFIG, challengers={"bold": CONFIG})
GUARDED = Lineup(CONFIG, GuardConfig())
CORRECTED = Lineup(CONFIG, corrected=True)


def of(lineup, rules=None):
    return lineage(make_lineup(lineup), rules or RewardRules(), "v1")


def changed(lineup, **settings):
    return replace(lineup, live=replace(lineup.live, **settings))


@pytest.mark.parametrize("lineup", [PLAIN, RIVALS, GUARDED, CORRECTED])
@pytest.mark.parametrize("settings", [{"gamma": 5.0}, {"floor": 0.01}, {"newcomer": 3}])
def test_how_arms_are_chosen_may_change_at_any_time(lineup, settings):
    assert of(changed(lineup, **settings)) == of(lineup)


@pytest.mark.parametrize("lineup", [PLAIN, RIVALS, GUARDED, CORRECTED])
@pytest.mark.parametrize(
    "settings",
    [
        {"drift": False},
        {"detector": "adwin"},
        {"alarm_threshold": 20.0},
        {"forgetting": 1.0},
        {"widen": 0.0},
        {"watch": 10},
        {"name": "direct"},
    ],
)
def test_what_decides_what_a_log_teaches_begins_another_lineage(lineup, settings):
    assert of(changed(lineup, **settings)) != of(lineup)


def test_whoever_is_around_the_policy_begins_another_lineage():
    lineups = [
        PLAIN,
        RIVALS,
        GUARDED,
        CORRECTED,
        replace(RIVALS, league=LeagueConfig(alpha=0.1)),
        replace(RIVALS, challengers={"bold": replace(CONFIG, forgetting=1.0)}),
        replace(GUARDED, guard=GuardConfig(margin=0.1)),
        replace(CORRECTED, guard=GuardConfig()),
        replace(CORRECTED, weigh_voters=True),
    ]
    assert len({of(lineup) for lineup in lineups}) == len(lineups)


@pytest.mark.parametrize("lineup", [PLAIN, RIVALS, GUARDED])
def test_the_lineage_follows_from_name_and_settings_alone(lineup):
    policy = make_lineup(lineup)
    told = SimpleNamespace(name=policy.name, config=policy.config)
    assert lineage(told, RewardRules(), "v1") == of(lineup)


def test_other_rules_begin_another_lineage():
    silent = RewardRules(default_quality=0.8)
    assert of(PLAIN, silent) != of(PLAIN) == of(PLAIN, RewardRules())
