"""Bills and waits: their level is found, then a change of it, and no change before."""

import numpy as np
import pytest

from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.primitives import Interaction, Reward
from tests.makers import ARMS, context, decision

PRIOR_USD, PRIOR_S = 0.0016, 2.0
"""What an answer of the cloud is expected to cost and to take before any was seen."""


class World:
    """Answers of the cloud; ``spread`` is the standard deviation of their logarithms."""

    def __init__(self, seed, *, ratio, spread=0.0):
        self.policy = ComposedPolicy(PolicyConfig("composed", {"bias": 1, "text": 3}))
        self.rng = np.random.default_rng(seed)
        self.ratio, self.spread = ratio, spread

    def run(self, n, *, times=1.0):
        """``n`` answers; how many of them had come when the first alarm did, None without."""
        told = len(self.policy.alarms)
        for i in range(1, n + 1):
            usual, slow = self.ratio * np.exp(self.spread * self.rng.standard_normal(2))
            made = decision(arm="cloud", context=context(x=self.rng.standard_normal(3)))
            reward = Reward(cost_usd=PRIOR_USD * usual * times, latency_s=PRIOR_S * slow * times)
            self.policy.learn(Interaction(made, reward))
            if len(self.policy.alarms) > told:
                return i
        return None

    def expected_usd(self):
        made = decision()
        seen = self.policy.predict(context(x=self.rng.standard_normal(3)), ARMS, made.scenario)
        return seen.estimates[1].cost_usd


@pytest.mark.parametrize("ratio", [0.003, 0.012, 0.1, 20.0, 300.0])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_finding_the_level_of_bills_and_waits_is_no_alarm(ratio, spread):
    assert World(1, ratio=ratio, spread=spread).run(500) is None


@pytest.mark.parametrize("ratio", [0.012, 0.5, 20.0])
def test_bills_that_never_vary_are_expected_after_sixty(ratio):
    """A level that the first guesses missed 80-fold is within a tenth of 1 by then."""
    world = World(2, ratio=ratio)
    world.run(60)
    seen = [world.expected_usd() for _ in range(50)]
    assert np.median(seen) == pytest.approx(ratio * PRIOR_USD, rel=0.1)


@pytest.mark.parametrize("times", [3.0, 1 / 3])
@pytest.mark.parametrize(("spread", "within"), [(0.0, 12), (0.6, 60)])
def test_a_threefold_change_is_an_alarm_soon(times, spread, within):
    """Clipped at 1.5 standard deviations a value adds at least .65 beyond the tolerance to a sum
    that is an alarm at 39: sixty values, if each of them is beyond. Where values never vary the
    noise that is reckoned with is the least, and a value adds ten times as much."""
    world = World(3, ratio=0.5, spread=spread)
    assert world.run(200) is None
    found = world.run(within, times=times)
    assert found is not None


def test_a_restored_policy_watches_from_the_same_answer():
    """Saved while the level was being found: the alarm comes with the same answer."""
    found = []
    for saved in (False, True):
        world = World(4, ratio=0.012)
        world.run(25)
        if saved:
            twin = ComposedPolicy(world.policy.config)
            twin.restore(world.policy.snapshot())
            world.policy = twin
        world.run(100)
        found.append(world.run(50, times=3.0))
    assert found[0] == found[1] is not None
