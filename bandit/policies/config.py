"""What an operator may set of a policy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bandit.errors import BanditError


class BadPolicyConfigError(BanditError):
    """A policy setting outside its range."""

    def __init__(self, name: str, value: object, want: str) -> None:
        super().__init__(f"policy.{name} = {value!r}; want {want}")
        self.name = name


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Settings of the learning policies.

    Attributes
    ----------
    name
        ``composed``: quality, cost and latency learned apart, utility composed at decision time.
        ``direct``: ``--cb_explore_adf`` on the combined reward.
    schema
        Namespace to vector length, in the order of `Context.namespaces`.
    gamma
        Sharpness of inverse-gap weighting, per unit of typical gap; constant, so exploration never
        dies out. At a gap of typical size and two arms the other arm has 1 / (2 + gamma).
    floor
        Smallest probability of an eligible arm, in (0, 0.5].
    warm_up
        Votes of a kind of query (a cluster), at least 0, before which ``composed`` draws evenly for
        queries of that kind; see `bandit.policies.acquaintance`. It ranks queries better later on,
        and costs reward at first.
    """

    name: Literal["composed", "direct"] = "composed"
    schema: Mapping[str, int] = field(default_factory=dict)
    gamma: float = 20.0
    floor: float = 0.02
    warm_up: int = 0

    def __post_init__(self) -> None:
        if self.name not in ("composed", "direct"):
            raise BadPolicyConfigError("name", self.name, "'composed' or 'direct'")
        if not (math.isfinite(self.gamma) and self.gamma > 0.0):
            raise BadPolicyConfigError("gamma", self.gamma, "a number above 0")
        if not 0.0 < self.floor <= 0.5:
            raise BadPolicyConfigError("floor", self.floor, "a number in (0, 0.5]")
        if self.warm_up < 0:
            raise BadPolicyConfigError("warm_up", self.warm_up, "a number of votes, at least 0")

    @property
    def n_features(self) -> int:
        """Length of a context's vectors laid end to end."""
        return sum(self.schema.values())
