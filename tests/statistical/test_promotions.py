"""Challengers are promoted for being better, not for being looked at often."""

import numpy as np
import pytest

from bandit.policies.guarded import GuardConfig, GuardedPolicy
from bandit.policies.league import LeagueConfig, LeaguePolicy
from tests.leagues import FLOOR, HERE, NOWHERE, Stubborn, live_through

pytestmark = pytest.mark.statistical

N_SEEDS = 300


def league(**challengers):
    makers = {name: (lambda cloud=cloud: Stubborn(cloud)) for name, cloud in challengers.items()}
    return LeaguePolicy(lambda: Stubborn(0.5), makers, LeagueConfig(alpha=0.05, trial=1))


def test_a_challenger_that_is_no_better_is_promoted_in_at_most_5_of_100_leagues():
    """A/A: both arms are worth the same, so every challenger is worth exactly the live policy.

    Peeked at after each of 200 rewards, by two challengers. Were a promotion's chance .05, more
    than 26 of 300 leagues would have one in fewer than 1 of 500 repetitions of this test
    (binomial); the bound is .05 for ever, and .05 / 2 for the first comparison.
    """
    promoted = 0
    for seed in range(N_SEEDS):
        made = league(bold=0.9, shy=0.2)
        live_through(made, np.random.default_rng(seed), 200, {"edge": 0.6, "cloud": 0.6})
        promoted += bool(made.alarms)
    assert promoted <= 26


def test_a_better_challenger_is_promoted_within_a_thousand_rewards():
    """Power: lift .4 x .3 = .12 of a reward with a standard deviation of .5."""
    found = []
    for seed in range(10):
        made = league(better=0.9)
        live_through(made, np.random.default_rng(seed), 1000, {"edge": 0.4, "cloud": 0.7})
        found.append(made.serving == "better")
    assert sum(found) >= 9


def test_a_guard_leaves_a_policy_alone_that_is_as_good_as_any():
    """No fault in 20 runs of 1,500 rewards: a false one comes once in 100,000 at most.

    So 20 x 1,500 / 100,000 = .3 runs with a fault are the bound's worst case, which needs a policy
    worse by the whole margin; this one is worse by nothing, and none is what happens.
    """
    faults = 0
    for seed in range(20):
        guarded = GuardedPolicy(lambda: Stubborn(0.7), GuardConfig(trial=50), floor=FLOOR)
        world = {"means": {"edge": 0.8, "cloud": 0.8}, "kinds": (NOWHERE, HERE)}
        live_through(guarded, np.random.default_rng(seed), 1500, **world)
        faults += bool(guarded.alarms)
    assert faults == 0
