"""Policies by name, alone or with a guard and challengers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from bandit.policies.archive import read_archive
from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import BadPolicyConfigError, PolicyConfig
from bandit.policies.corrected import CorrectedConfig, CorrectedPolicy
from bandit.policies.direct import DirectPolicy
from bandit.policies.guarded import GUARDED, GuardConfig, GuardedPolicy
from bandit.policies.league import LEAGUE, LIVE, LeagueConfig, LeaguePolicy
from bandit.policy import Policy


@dataclass(frozen=True, slots=True)
class Lineup:
    """The policy that serves, what guards it, and who would like to take its place.

    Attributes
    ----------
    guard
        None leaves it unguarded.
    challengers
        Settings by name; no floor may be below the live policy's, and none is called ``live``.
    corrected, weigh_voters
        Whether all of them are taught a judge's scores as people would have given them, and votes
        by how rarely such queries get any (`bandit.policies.corrected`).
    """

    live: PolicyConfig
    guard: GuardConfig | None = None
    challengers: Mapping[str, PolicyConfig] = field(default_factory=dict)
    league: LeagueConfig = field(default_factory=LeagueConfig)
    corrected: bool = False
    weigh_voters: bool = False

    def __post_init__(self) -> None:
        for name, config in self.challengers.items():
            if name == LIVE:
                raise BadPolicyConfigError("challengers", name, "another name")
            if config.floor < self.live.floor:
                want = f"at least the live policy's {self.live.floor:g}"
                raise BadPolicyConfigError(f"challengers.{name}.floor", config.floor, want)


def make_policy(config: PolicyConfig) -> Policy:
    """A fresh policy that has learned nothing yet."""
    return ComposedPolicy(config) if config.name == "composed" else DirectPolicy(config)


def make_lineup(lineup: Lineup) -> Policy:
    """What serves and learns: the live policy, with its challengers, inside its guard."""
    made: Callable[[], Policy] = partial(make_policy, lineup.live)
    if lineup.challengers:
        rivals = {name: partial(make_policy, c) for name, c in lineup.challengers.items()}
        made = partial(LeaguePolicy, made, rivals, lineup.league)
    policy: Policy = made()
    if lineup.guard is not None:
        policy = GuardedPolicy(made, lineup.guard, floor=lineup.live.floor)
    if not lineup.corrected:
        return policy
    # Outermost, so that whoever compares rewards compares corrected ones.
    return CorrectedPolicy.around(policy, lineup.live, voters=lineup.weigh_voters)


def maker_of(blob: bytes) -> Callable[[], Policy]:
    """What makes a fresh policy that ``blob`` can be restored into, with what is around it.

    Raises
    ------
    BadSnapshotError
        If the bytes are damaged.
    """
    header, blobs = read_archive(blob)
    if header["policy"] == GUARDED:
        config = GuardConfig(**header["guard"]["config"])
        floor = header.get("floor", PolicyConfig().floor)
        return partial(GuardedPolicy, maker_of(blobs["inner"]), config, floor=floor)
    if header["policy"] == LEAGUE:
        members = {name: maker_of(member) for name, member in blobs.items()}
        # A champion is its serving member alone.
        live = members.pop(LIVE, None) or members[header["serving"]]
        return partial(LeaguePolicy, live, members)
    if header["policy"].startswith("corrected-"):
        inner, settings = maker_of(blobs["inner"]), CorrectedConfig(**header["config"])
        return lambda: CorrectedPolicy(inner(), settings)
    return partial(make_policy, PolicyConfig(**header["config"]))
