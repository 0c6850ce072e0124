"""Policies by name."""

from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.direct import DirectPolicy
from bandit.policy import Policy


def make_policy(config: PolicyConfig) -> Policy:
    """A fresh policy that has learned nothing yet."""
    return ComposedPolicy(config) if config.name == "composed" else DirectPolicy(config)
