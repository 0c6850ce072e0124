"""Challengers learn in the shadow and are promoted when they surely are better."""

import numpy as np
import pytest

from bandit.errors import BadSnapshotError, NoGateError
from bandit.gate import gatekeeper_of
from bandit.policies.archive import read_archive
from bandit.policies.config import BadPolicyConfigError, PolicyConfig
from bandit.policies.corrected import CorrectedConfig, CorrectedPolicy
from bandit.policies.factory import Lineup
from bandit.policies.guarded import GuardConfig, GuardedPolicy
from bandit.policies.league import LeagueConfig, LeaguePolicy, Trial
from tests.leagues import ARMS, FLOOR, NOWHERE, QUALITY, Stubborn, live_through

CONFIG = LeagueConfig(trial=20)
CLOUD_GOOD = {"edge": 0.3, "cloud": 0.8}


def league(**challengers):
    makers = {name: (lambda cloud=cloud: Stubborn(cloud)) for name, cloud in challengers.items()}
    return LeaguePolicy(lambda: Stubborn(0.3), makers, CONFIG)


class Gated(Stubborn):
    """One that also has a gate, of one answer."""

    has_gate = True

    def gate(self, *_):
        return "asked"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cloud_share(policy):
    return policy.predict(NOWHERE, ARMS, QUALITY).propensity("cloud")


def test_challengers_learn_everything_and_serve_nothing(rng):
    made = league(worse=0.1)
    live_through(made, rng, 300, CLOUD_GOOD)
    assert made._member("worse").n_learned == made.inner.n_learned == 300
    assert cloud_share(made) == pytest.approx(0.3)


def test_a_better_challenger_is_promoted_and_the_former_policy_becomes_one(rng):
    made = league(better=0.9, worse=0.1)
    made.version = "stubborn-7"
    live_through(made, rng, 1000, CLOUD_GOOD)
    assert made.serving == "better"
    assert cloud_share(made) == pytest.approx(0.9)
    assert made.version == "stubborn-7"
    assert set(made._trials) == {"live", "worse"}
    (alarm,) = made.alarms
    assert alarm.kind == "promotion"
    assert alarm.alarm_id == f"{alarm.decision_id}:promotion:better"
    assert "'better' would have earned" in alarm.action


@pytest.mark.parametrize(("before", "after"), [(Stubborn, Gated), (Gated, Stubborn)])
def test_who_is_promoted_brings_its_gate_or_none(rng, before, after):
    made = LeaguePolicy(lambda: before(0.3), {"better": lambda: after(0.9)}, CONFIG)
    around = CorrectedPolicy(made, CorrectedConfig({}))
    assert (gatekeeper_of(around) is not None) == (before is Gated)
    live_through(made, rng, 1000, CLOUD_GOOD)
    assert made.serving == "better"
    assert (gatekeeper_of(around) is not None) == (after is Gated)
    if after is Gated:
        assert around.gate(NOWHERE, *ARMS, QUALITY, {}) == "asked"
    else:
        with pytest.raises(NoGateError, match="gatekeeper_of"):
            around.gate(NOWHERE, *ARMS, QUALITY, {})


def test_a_challenger_that_becomes_better_later_is_promoted_all_the_same(rng):
    made = league(other=0.9)
    live_through(made, rng, 3000, {"edge": 0.8, "cloud": 0.3})
    assert made.serving == "live"
    live_through(made, rng, 9000, CLOUD_GOOD, start=3000)
    assert made.serving == "other"


def test_the_chances_of_all_comparisons_sum_to_alpha():
    trial, spent = Trial(0.05), []
    for _ in range(2000):
        spent.append(trial.alpha)
        trial.restart()
    assert sum(spent) == pytest.approx(0.05, rel=1e-3)


def test_a_restored_league_continues_exactly(rng):
    made = league(better=0.4, worse=0.1)
    live_through(made, rng, 500, CLOUD_GOOD)
    twin = league(better=0.4, worse=0.1)
    twin.restore(made.snapshot())
    for policy in (made, twin):
        live_through(policy, np.random.default_rng(1), 3000, CLOUD_GOOD, start=500)
    assert twin.snapshot() == made.snapshot()
    assert made.serving == "better"


def test_a_server_that_only_predicts_makes_no_challenger(rng):
    made = league(better=0.9, worse=0.1)
    live_through(made, rng, 50, CLOUD_GOOD)
    twin = league(better=0.9, worse=0.1)
    twin.restore(made.snapshot())
    twin.predict(NOWHERE, ARMS, QUALITY)
    assert set(twin._members) == {"live"}
    assert set(read_archive(twin.snapshot())[1]) == {"live", "better", "worse"}


def test_a_policy_that_was_saved_alone_is_the_live_member(rng):
    alone = Stubborn(0.6)
    live_through(alone, rng, 30, CLOUD_GOOD)
    made = league(other=0.9)
    made.restore(alone.snapshot())
    assert cloud_share(made) == pytest.approx(0.6)
    assert made.inner.n_learned == 30
    assert made._member("other").n_learned == 0


def test_a_promoted_member_that_is_configured_no_more_leaves_its_place(rng):
    made = league(better=0.9)
    live_through(made, rng, 1000, CLOUD_GOOD)
    assert made.serving == "better"
    other = league(new=0.5)
    other.restore(made.snapshot())
    assert other.serving == "live"
    assert set(other._trials) == {"new"}


def test_a_league_without_the_member_that_is_to_serve_is_refused(rng):
    made = league(better=0.9)
    live_through(made, rng, 1000, CLOUD_GOOD)
    assert made.serving == "better"
    with pytest.raises(BadSnapshotError, match="live"):
        league(new=0.5).restore(made.frozen())


def test_the_guards_champion_is_the_live_member_alone(rng):
    def make():
        return LeaguePolicy(lambda: Stubborn(0.9), {"other": lambda: Stubborn(0.8)}, CONFIG)

    guarded = GuardedPolicy(make, GuardConfig(trial=20), floor=FLOOR)
    live_through(guarded, rng, 100, CLOUD_GOOD)
    assert set(read_archive(guarded._champion_blob)[1]) == {"live"}
    guarded._fault = "champion"
    assert cloud_share(guarded) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("challengers", "says"),
    [
        ({"live": PolicyConfig()}, "another name"),
        ({"x": PolicyConfig(floor=0.01)}, "challengers.x.floor"),
    ],
)
def test_a_lineup_that_cannot_be_is_refused(challengers, says):
    with pytest.raises(BadPolicyConfigError, match=says):
        Lineup(PolicyConfig(floor=0.02), challengers=challengers)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 0.6}, {"trial": 0}], ids=str)
def test_a_league_out_of_range_is_refused(wrong):
    with pytest.raises(BadPolicyConfigError):
        LeagueConfig(**wrong)
