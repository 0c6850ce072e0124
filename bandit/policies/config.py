"""What an operator may set of a policy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bandit.drift import DETECTORS, DetectorName
from bandit.errors import BanditError

CHOOSING = frozenset({"gamma", "gamma_votes", "floor", "caution", "newcomer"})
"""Settings of `PolicyConfig` that say how to choose; all others decide what a log teaches."""


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
        Sharpness of inverse-gap weighting, per unit of typical gap. At a gap of typical size and
        two arms the other arm has 1 / (2 + gamma).
    gamma_votes
        Votes, at least 0, after which ``composed`` has reached ``gamma``: it begins at a tenth
        and ends at four times. 0 keeps it constant; so does a price of money.
    floor
        Smallest probability of an eligible arm, in (0, 0.5].
    drift
        Whether ``composed`` handles drift at all; all of the following needs it.
    detector
        ``both``, ``page-hinkley``, ``adwin`` or ``off``; see `bandit.drift.DetectorConfig`.
    alarm_threshold
        Of Page-Hinkley, above 0, in standard deviations of the noise.
    widen
        Least probability, in [0, 0.5], of an arm that became worse, for queries that it would be
        best for had it recovered; 0 leaves it at the floor.
    watch
        Votes, above 0, after which that probability has halved.
    caution
        Standard errors, at least 0, by which an arm under watch is trusted less than it looks.
    forgetting
        In (0, 1]: how much of an arm's running correction outlives a vote; 1 forgets nothing.
    newcomer
        Votes, at least 0, for which an arm is drawn evenly that came when others were known, or
        came back with another digest.
    """

    name: Literal["composed", "direct"] = "composed"
    schema: Mapping[str, int] = field(default_factory=dict)
    gamma: float = 20.0
    gamma_votes: int = 625
    floor: float = 0.02
    drift: bool = True
    detector: DetectorName = "both"
    alarm_threshold: float = 26.0
    widen: float = 0.1
    watch: int = 1500
    caution: float = 1.5
    forgetting: float = 0.999
    newcomer: int = 20

    def __post_init__(self) -> None:
        if self.name not in ("composed", "direct"):
            raise BadPolicyConfigError("name", self.name, "'composed' or 'direct'")
        if not (math.isfinite(self.gamma) and self.gamma > 0.0):
            raise BadPolicyConfigError("gamma", self.gamma, "a number above 0")
        if not 0.0 < self.floor <= 0.5:
            raise BadPolicyConfigError("floor", self.floor, "a number in (0, 0.5]")
        if self.gamma_votes < 0:
            raise BadPolicyConfigError("gamma_votes", self.gamma_votes, "at least 0 votes")
        if self.detector not in DETECTORS:
            raise BadPolicyConfigError("detector", self.detector, f"one of {DETECTORS}")
        for name, low, high in (
            ("alarm_threshold", 1e-6, 1e6),
            ("widen", 0.0, 0.5),
            ("watch", 1, 10**9),
            ("caution", 0.0, 100.0),
            ("forgetting", 1e-6, 1.0),
            ("newcomer", 0, 10**6),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                want = f"a number between {low:g} and {high:g}"
                raise BadPolicyConfigError(name, value, want)

    @property
    def n_features(self) -> int:
        """Length of a context's vectors laid end to end."""
        return sum(self.schema.values())
