"""A guard around a policy: if it does worse than what is known to be good, traffic goes back.

Three references are followed from the logged propensities, by evidence that may be looked at after
every reward (`bandit.lift`): the *champion*, a frozen copy of the policy from when it last was
surely no worse than the copy before, and every fixed arm. When one of them surely beats what is
served, queries go to it, but for the exploration floor and a share that the policy keeps to prove
itself; it goes on learning, and has its traffic back once it surely is no worse.
After Kazerouni, Ghavamzadeh, Abbasi-Yadkori and Van Roy, "Conservative contextual linear bandits"
(2017, arXiv 1611.06426), with bounds that hold at any time instead of their confidence sets.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

from bandit.alarm import Alarm
from bandit.errors import BadSnapshotError
from bandit.lift import LiftDetector
from bandit.policies.archive import read_archive, write_archive
from bandit.policies.config import BadPolicyConfigError
from bandit.policies.evidence import Row, judges, worth
from bandit.policies.inputs import check_interaction
from bandit.policies.wrapping import Wrapping, oldest_first
from bandit.policy import Policy
from bandit.primitives import Arm, Context, Interaction, Prediction
from bandit.utility import Scenario

GUARDED = "guarded"
"""What a snapshot of this kind says it is."""
_CHAMPION = "champion"
_N_ALARMS = 24
_MOST_ARMS = 32


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """How sure the guard must be.

    Attributes
    ----------
    trial
        Rewards before anything is compared: a policy that has just begun to learn is no fault.
    margin
        Reward that the policy may fall short by: exploring costs something, and is worth it.
    run_length
        Rewards between two false alarms, at least, on average, however often one looks.
    proof_length
        The same for taking the policy, wrongly, to be no worse again.
    retrial
        Share of its traffic that a policy keeps while it is held back, in [0.01, 1).
    """

    trial: int = 500
    margin: float = 0.03
    run_length: float = 1e5
    proof_length: float = 1e3
    retrial: float = 0.2

    def __post_init__(self) -> None:
        if self.trial < 1:
            raise BadPolicyConfigError("guard.trial", self.trial, "at least 1")
        if not 0.0 <= self.margin < 1.0:
            raise BadPolicyConfigError("guard.margin", self.margin, "a number in [0, 1)")
        for name in ("run_length", "proof_length"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 20.0):
                raise BadPolicyConfigError(f"guard.{name}", value, "a number of at least 20")
        if not 0.01 <= self.retrial < 1.0:
            raise BadPolicyConfigError("guard.retrial", self.retrial, "a number in [0.01, 1)")


@dataclass(frozen=True, slots=True)
class GuardedConfig:
    """The guard's settings beside those of what it guards."""

    policy: Any
    guard: GuardConfig


@runtime_checkable
class Freezable(Protocol):
    """A policy whose champion needs less than its snapshot."""

    def frozen(self) -> bytes:
        """A snapshot that predicts alike; it is never taught."""


class GuardedPolicy(Wrapping):
    """Serves as the inner policy does until that is surely worse than champion or fixed arm.

    Parameters
    ----------
    make
        Makes the inner policy, fresh; every call makes the same one.
    floor
        Least probability of an eligible arm, as of the inner policy.
    """

    def __init__(
        self, make: Callable[[], Policy], config: GuardConfig | None = None, *, floor: float = 0.02
    ) -> None:
        super().__init__(make())
        self._make = make
        self._floor = floor
        self._guard = config or GuardConfig()
        self.config = GuardedConfig(getattr(self.inner, "config", None), self._guard)
        self._load({}, None)

    def _load(self, state: Mapping[str, Any], champion: bytes | None) -> None:
        # Evidence gathered under other settings means something else.
        known = state if state.get("config") == asdict(self._guard) else {}
        self.n_interactions: int = state.get("n_interactions", 0)
        self._n_rewards: int = state.get("n_rewards", 0)
        self._fault: str | None = known.get("fault")
        self._alarms = tuple(Alarm(**alarm) for alarm in state.get("alarms", ()))
        self._champion_blob = champion
        self._champion: Policy | None = None
        self._worse = {
            name: LiftDetector(self._guard.margin, state=saved)
            for name, saved in known.get("worse", {}).items()
        }
        self._fine = LiftDetector(-self._guard.margin, state=known.get("fine"))

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The guard's own and the inner policy's, oldest first."""
        return oldest_first(*self.inner.alarms, *self._alarms)

    @property
    def fault(self) -> str | None:
        """Who serves instead: ``champion``, ``arm:<id>``, or None while the policy serves."""
        return self._fault

    # -- choosing ---------------------------------------------------------------------------------

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """The inner policy's prediction; while that is held back, mostly another's pmf."""
        live = self.inner.predict(context, arms, scenario)
        if self._fault is None:
            return live
        fallback = self._fallback(live, self._champion_pmf(context, arms, scenario))
        keep = self._guard.retrial
        mixed = [keep * p + (1.0 - keep) * q for p, q in zip(live.pmf, fallback, strict=True)]
        total = math.fsum(mixed)
        return replace(live, pmf=tuple(p / total for p in mixed))

    def _fallback(self, live: Prediction, champion: Sequence[float] | None) -> Sequence[float]:
        """What serves instead; the live pmf where that is no choice."""
        if champion is not None:
            return champion
        arm = (self._fault or "").removeprefix("arm:")
        if arm not in live.arms:
            return live.pmf
        # Where a budget pushes an arm below the floor, it stays there.
        pairs = zip(live.arms, live.pmf, strict=True)
        least = [0.0 if a == arm else min(self._floor, p) for a, p in pairs]
        return [p or 1.0 - math.fsum(least) for p in least]

    def _champion_pmf(
        self, context: Context, arms: Sequence[Arm], scenario: Scenario, *, wanted: bool = False
    ) -> Sequence[float] | None:
        if self._champion_blob is None or not (wanted or self._fault == _CHAMPION):
            return None
        if self._champion is None:
            champion = self._make()
            champion.restore(self._champion_blob)
            self._champion = champion
        return self._champion.predict(context, arms, scenario).pmf

    # -- learning ---------------------------------------------------------------------------------

    def learn(self, interaction: Interaction) -> None:
        """Teach the inner policy, and hold it against its references."""
        check_interaction(interaction)
        # Nobody may be judged by a reward that they have learned from.
        row = self._row(interaction) if self._n_rewards >= self._guard.trial else None
        self.inner.learn(interaction)
        self.n_interactions += 1
        self._n_rewards += judges(interaction)
        if row is None:
            return
        if self._champion_blob is None:
            self._crown()
        elif self._fault is None:
            self._compare(row)
        else:
            self._reconsider(row)

    def _row(self, interaction: Interaction) -> Row | None:
        if not judges(interaction):
            return None
        decision = interaction.decision
        asked = decision.context, decision.arms, decision.scenario
        live = self.inner.predict(*asked).pmf
        champion = self._champion_pmf(*asked, wanted=self._fault is None)
        drawn = decision.prediction.arms.index(decision.arm)
        return Row(decision, worth(interaction), drawn, live, champion)

    def _compare(self, row: Row) -> None:
        """Hold back the policy, as it is now, if a reference is surely better."""
        for name, target in self._references(row).items():
            detector = self._worse.setdefault(name, LiftDetector(self._guard.margin))
            detector.add(row.contrast(target, row.live), row.reward)
        if row.champion is not None:
            self._fine.add(row.contrast(row.live, row.champion), row.reward)
        certain = self._guard.run_length * max(1, len(self._worse))
        beaten = [name for name, d in self._worse.items() if d.exceeds(certain)]
        if beaten:
            self._hold_back(max(beaten, key=lambda name: self._worse[name].value), row)
        elif self._fine.n >= self._guard.trial and self._fine.exceeds(self._guard.proof_length):
            self._crown()

    def _references(self, row: Row) -> dict[str, Sequence[float]]:
        arms = row.decision.prediction.arms
        fixed: dict[str, Sequence[float]] = {
            f"arm:{arm}": [float(other == arm) for other in arms]
            for arm in arms
            if len(self._worse) < _MOST_ARMS or f"arm:{arm}" in self._worse
        }
        return fixed if row.champion is None else {_CHAMPION: row.champion, **fixed}

    def _reconsider(self, row: Row) -> None:
        """Give back its traffic if the policy, as it is now, is surely no worse."""
        logged = row.decision.prediction
        fallback = self._fallback(replace(logged, pmf=tuple(row.live)), row.champion)
        self._fine.add(row.contrast(row.live, fallback), row.reward)
        if self._fine.exceeds(self._guard.proof_length):
            self._give_back(row)

    def _hold_back(self, name: str, row: Row) -> None:
        detector = self._worse[name]
        earned, lift, n = detector.mean_reward, detector.value, detector.n
        who = "its last good copy" if name == _CHAMPION else f"always {name[4:]!r}"
        self._raise(
            row,
            arm=None if name == _CHAMPION else name[4:],
            numbers=(earned + lift, earned),
            action=f"over the last {n} rewards {who} would have earned {lift:.3f} a query more "
            f"than the policy ({earned:.3f} were earned): traffic goes back to it, but for "
            f"{self._guard.retrial:.0%} with which the policy may prove itself",
        )
        self._fault = name
        self._restart()

    def _give_back(self, row: Row) -> None:
        lift, n, name = self._fine.value, self._fine.n, self._fault or ""
        held = self._fine.mean_reward
        self._raise(
            row,
            arm=None if name == _CHAMPION else name[4:],
            numbers=(held, held + lift),
            action=f"over the last {n} rewards the policy is worth {lift:+.3f} a query against "
            f"{'its last good copy' if name == _CHAMPION else f'always {name[4:]!r}'}: surely not "
            f"{self._guard.margin:g} worse, so it has its traffic back",
        )
        self._fault = None
        self._crown()

    def _raise(
        self,
        row: Row,
        *,
        arm: str | None,
        numbers: tuple[float | None, float | None],
        action: str,
    ) -> None:
        decision_id = row.decision.decision_id
        alarm_id = f"{decision_id}:guard:{arm or '*'}"
        alarm = Alarm(alarm_id, "guard", arm, decision_id, self.n_interactions, *numbers, action)
        self._alarms = (*self._alarms, alarm)[-_N_ALARMS:]

    def _crown(self) -> None:
        """The policy as it is now is the champion."""
        inner = self.inner
        self._champion_blob = inner.frozen() if isinstance(inner, Freezable) else inner.snapshot()
        self._champion = None
        self._worse.pop(_CHAMPION, None)
        self._fine = LiftDetector(-self._guard.margin)

    def _restart(self) -> None:
        self._worse = {}
        self._fine = LiftDetector(-self._guard.margin)

    # -- keeping ----------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The inner policy's snapshot, the champion's, and what was held against them."""
        header = {
            "policy": GUARDED,
            "guards": self.name,
            "floor": self._floor,
            "guard": {
                "config": asdict(self._guard),
                "n_interactions": self.n_interactions,
                "n_rewards": self._n_rewards,
                "fault": self._fault,
                "alarms": [asdict(alarm) for alarm in self._alarms],
                "worse": {name: d.state() for name, d in self._worse.items()},
                "fine": self._fine.state(),
            },
        }
        blobs = {"inner": self.inner.snapshot()}
        if self._champion_blob is not None:
            blobs[_CHAMPION] = self._champion_blob
        return write_archive(header, blobs)

    def restore(self, blob: bytes) -> None:
        """Become the saved policy; one saved without a guard is guarded from now on."""
        header, blobs = read_archive(blob)
        if header.get("policy") != GUARDED:
            self.inner.restore(blob)
            self._load({"n_interactions": header.get("n_interactions", 0)}, None)
            return
        if header["guards"] != self.name:
            raise BadSnapshotError(f"it guards a {header['guards']!r} policy, not {self.name!r}")
        self.inner.restore(blobs["inner"])
        self._load(header["guard"], blobs.get(_CHAMPION))
