"""Challengers learn in the shadow of the policy that serves, and replace it when they are better.

Every interaction teaches all of them. What a challenger is worth beside the live policy is known
from the logged propensities (`bandit.lift`): nobody is ever routed by a challenger to find out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bandit.alarm import Alarm
from bandit.errors import BadSnapshotError
from bandit.lift import Contrast, RunningLift
from bandit.policies.archive import read_archive, write_archive
from bandit.policies.config import BadPolicyConfigError
from bandit.policies.evidence import judges, worth
from bandit.policies.inputs import check_interaction
from bandit.policies.wrapping import Wrapping, oldest_first
from bandit.policy import Policy
from bandit.primitives import Arm, Context, Interaction, Prediction
from bandit.utility import Scenario

LIVE = "live"
"""Name of the policy that serves at first."""
LEAGUE = "league"
"""What a snapshot of this kind says it is."""
_N_ALARMS = 24
_FIRST = 1000
"""Rewards of the first comparison; each is followed by one twice as long."""


@dataclass(frozen=True, slots=True)
class LeagueConfig:
    """How sure a promotion must be.

    Attributes
    ----------
    alpha
        Probability that any challenger that never is better is ever promoted, in (0, 0.5].
    trial
        Rewards before anything is compared.
    members
        Settings by name, the live policy's among them; for telling snapshots apart.
    """

    alpha: float = 0.05
    trial: int = 200
    members: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha <= 0.5:
            raise BadPolicyConfigError("promotion_alpha", self.alpha, "a number in (0, 0.5]")
        if self.trial < 1:
            raise BadPolicyConfigError("promotion_trial", self.trial, "at least 1")


class Trial:
    """One challenger's comparisons: each longer than the one before, and as sure as all before.

    Comparison k (from 0) may fail with probability ``alpha / ((k + 1)(k + 2))``; these sum to
    alpha, so that a challenger that was poor at first has another chance, for ever.
    """

    def __init__(self, alpha: float, state: Mapping[str, Any] | None = None) -> None:
        known = state or {}
        self._alpha = alpha
        self._k: int = known.get("k", 0)
        self.lift = RunningLift(state=known.get("lift"))

    @property
    def alpha(self) -> float:
        """What this comparison may fail with."""
        return self._alpha / ((self._k + 1) * (self._k + 2))

    def add(self, contrast: Contrast, reward: float) -> bool:
        """Take in one reward; whether the challenger is surely better."""
        if self.lift.n >= _FIRST * 2 ** min(self._k, 40):
            self.restart()
        self.lift.add(contrast, reward)
        return self.lift.exceeds(0.0, alpha=self.alpha)

    def restart(self) -> None:
        """Begin the next comparison."""
        self._k += 1
        self.lift = RunningLift()

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        return {"k": self._k, "lift": self.lift.state()}


class LeaguePolicy(Wrapping):
    """Serves as its live member; a challenger that surely earns more takes its place.

    Parameters
    ----------
    live, challengers
        Make the members, fresh; every call makes the same one. A challenger's exploration floor is
        at least the live policy's.

    Examples
    --------
    >>> from bandit.policies.baselines import MixPolicy
    >>> league = LeaguePolicy(MixPolicy, {"sharp": lambda: MixPolicy({"cloud": 1.0})})
    >>> league.serving
    'live'
    """

    def __init__(
        self,
        live: Callable[[], Policy],
        challengers: Mapping[str, Callable[[], Policy]],
        config: LeagueConfig | None = None,
    ) -> None:
        if LIVE in challengers:
            raise BadPolicyConfigError("challengers", LIVE, "another name")
        super().__init__(live())
        self._makers = {LIVE: live, **challengers}
        self._league = config or LeagueConfig()
        self._become(LIVE, {LIVE: self.inner}, {}, {})
        settings = {name: getattr(make(), "config", None) for name, make in self._makers.items()}
        self.config = LeagueConfig(self._league.alpha, self._league.trial, settings)

    def _become(
        self,
        serving: str,
        members: Mapping[str, Policy],
        blobs: Mapping[str, bytes],
        state: Mapping[str, Any],
    ) -> None:
        self.serving, self.inner = serving, members[serving]
        self._members = dict(members)
        self._blobs = {name: blob for name, blob in blobs.items() if name in self._makers}
        self.n_interactions: int = state.get("n_interactions", 0)
        self._n_rewards: int = state.get("n_rewards", 0)
        self._alarms = tuple(Alarm(**alarm) for alarm in state.get("alarms", ()))
        self._hushed = frozenset(state.get("hushed", ()))
        alpha = self._league.alpha / max(1, len(self._makers) - 1)
        saved = state.get("trials", {})
        self._trials = {
            name: Trial(alpha, saved.get(name)) for name in self._makers if name != serving
        }

    def _member(self, name: str) -> Policy:
        """A member; those that only learn are made when they first do."""
        if name not in self._members:
            member = self._makers[name]()
            if name in self._blobs:
                member.restore(self._blobs.pop(name))
            self._members[name] = member
        return self._members[name]

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Promotions and what the live policy noticed, oldest first."""
        # What a challenger noticed in the shadow was noticed before, or led to nothing.
        heard = (alarm for alarm in self.inner.alarms if alarm.alarm_id not in self._hushed)
        return oldest_first(*heard, *self._alarms)

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """The live policy's prediction."""
        return self.inner.predict(context, arms, scenario)

    # -- learning ---------------------------------------------------------------------------------

    def learn(self, interaction: Interaction) -> None:
        """Teach every member, and compare them as they were before."""
        check_interaction(interaction)
        before = self._predictions(interaction)
        for name in self._makers:
            self._member(name).learn(interaction)
        self.n_interactions += 1
        self._n_rewards += judges(interaction)
        if before:
            self._compare(interaction, before)

    def _predictions(self, interaction: Interaction) -> dict[str, Sequence[float]]:
        decision = interaction.decision
        if not judges(interaction) or self._n_rewards < self._league.trial:
            return {}
        asked = decision.context, decision.arms, decision.scenario
        return {name: self._member(name).predict(*asked).pmf for name in self._makers}

    def _compare(self, interaction: Interaction, before: Mapping[str, Sequence[float]]) -> None:
        logged, live = interaction.decision.prediction, before[self.serving]
        drawn, reward = logged.arms.index(interaction.decision.arm), worth(interaction)
        better = []
        for name, trial in self._trials.items():
            contrast = Contrast.between(before[name], logged.pmf, drawn=drawn, base=live)
            if trial.add(contrast, reward):
                better.append(name)
        if better:
            best = max(better, key=lambda name: self._trials[name].lift.value)
            self._promote(best, interaction.decision.decision_id)

    def _promote(self, name: str, decision_id: str) -> None:
        trial, former = self._trials[name], self.serving
        lift, low = trial.lift, trial.lift.low(alpha=trial.alpha)
        alarm = Alarm(
            f"{decision_id}:promotion:{name}",
            "promotion",
            None,
            decision_id,
            self.n_interactions,
            0.0,
            lift.value,
            f"over {lift.n} rewards the challenger {name!r} would have earned {lift.value:.3f} a "
            f"query more than {former!r} (surely more than {low:.3f}): it serves from now on, and "
            f"{former!r} is its challenger",
        )
        self._alarms = (*self._alarms, alarm)[-_N_ALARMS:]
        promoted = self._member(name)
        promoted.version = self.version
        self._hushed = frozenset(alarm.alarm_id for alarm in promoted.alarms)
        self.serving, self.inner = name, promoted
        self._trials[former] = self._trials.pop(name)
        for other in self._trials.values():
            other.restart()

    # -- keeping ----------------------------------------------------------------------------------

    def frozen(self) -> bytes:
        """The live policy alone: predicts alike, and has nobody beside it."""
        return write_archive(self._header(), {self.serving: self.inner.snapshot()})

    def snapshot(self) -> bytes:
        """Every member, and how the comparisons stand."""
        made = {name: member.snapshot() for name, member in self._members.items()}
        every = {**self._blobs, **made}
        return write_archive(self._header(), {name: every[name] for name in sorted(every)})

    def _header(self) -> dict[str, Any]:
        return {
            "policy": LEAGUE,
            "serving": self.serving,
            "league": {
                "n_interactions": self.n_interactions,
                "n_rewards": self._n_rewards,
                "alarms": [asdict(alarm) for alarm in self._alarms],
                "hushed": sorted(self._hushed),
                "trials": {name: self._trials[name].state() for name in sorted(self._trials)},
            },
        }

    def restore(self, blob: bytes) -> None:
        """Become the saved league; a policy that was saved alone is the live member of a new one.

        Who is no longer a member is left out; who is new begins fresh.
        """
        header, blobs = read_archive(blob)
        serving, state = LIVE, {"n_interactions": header.get("n_interactions", 0)}
        if header.get("policy") == LEAGUE:
            state = header["league"]
            # A promoted member that is configured no more leaves its place to the first.
            serving = header["serving"] if header["serving"] in self._makers else LIVE
            if serving not in blobs:
                raise BadSnapshotError(f"it has no member {serving!r}")
        else:
            blobs = {LIVE: blob}
        live = self._makers[serving]()
        live.restore(blobs.pop(serving))
        self._become(serving, {serving: live}, blobs, state)
