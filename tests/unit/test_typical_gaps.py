"""Of scenarios a policy remembers the size of their gaps, and only of so many."""

from dataclasses import replace

from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.gaps import MOST_SCENARIOS
from bandit.primitives import Interaction, Reward
from bandit.utility import PRESETS
from tests.makers import context, decision

SCHEMA = {name: len(vector) for name, vector in context().namespaces.items()}


def taught(policy, names):
    for name in names:
        scenario = replace(PRESETS["balanced"], name=name)
        policy.learn(Interaction(decision(scenario=scenario), Reward(quality=0.5)))
    return policy


def policy():
    return ComposedPolicy(PolicyConfig(schema=SCHEMA))


def test_the_scenario_seen_longest_ago_is_forgotten_first():
    names = [f"own-{i}" for i in range(MOST_SCENARIOS)]
    found = taught(policy(), ["balanced", *names[:-1], "balanced", names[-1]])
    assert len(found._gaps.state()) == MOST_SCENARIOS
    assert "balanced" in found._gaps.state()
    assert names[0] not in found._gaps.state()


def test_a_restored_policy_forgets_the_same_one():
    names = [f"own-{i}" for i in range(MOST_SCENARIOS)]
    whole = taught(policy(), names)
    again = policy()
    again.restore(whole.snapshot())
    assert list(taught(again, ["new"])._gaps.state()) == list(taught(whole, ["new"])._gaps.state())
