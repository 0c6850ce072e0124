"""Snapshots: made with proofs, loaded with suspicion, swapped by reference.

A damaged model file usually loads without complaint, so a snapshot carries its SHA-256 and
*canaries*: a few contexts with the pmf that the saved policy gave them. Whoever loads it predicts
them again and refuses it when anything differs; the policy before stays.
"""

import base64
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bandit.errors import BadSnapshotError, OutdatedSnapshotError, PointsmanError
from bandit.packing import (
    arm_from_dict,
    arm_to_dict,
    pack_context,
    scenario_from_dict,
    scenario_to_dict,
    unpack_context,
)
from bandit.policy import Policy
from bandit.primitives import Arm, Context, Decision, Prediction
from bandit.utility import Scenario
from feedback.log import DecisionLog, Snapshot
from serving.outages import Outage

PolicyMaker: TypeAlias = Callable[[], Policy]
"""Makes a fresh policy that has learned nothing; every call makes the same one."""

N_CANARIES = 8
TOLERANCE = 1e-6

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Canary:
    """Something to predict again after loading."""

    context: Context
    arms: tuple[Arm, ...]
    scenario: Scenario

    @classmethod
    def of(cls, decision: Decision) -> "Canary":
        """The canary that asks what ``decision`` asked."""
        return cls(decision.context, decision.arms, decision.scenario)


def make_snapshot(
    policy: Policy,
    *,
    version: str,
    position: int,
    canaries: Sequence[Canary] = (),
    facts: Mapping[str, Any] | None = None,
) -> Snapshot:
    """Everything of ``policy``, named ``version``, with what proves that it was loaded well.

    Parameters
    ----------
    facts
        More entries of the manifest, such as ``schema_version`` and ``n_interactions``.

    Raises
    ------
    BadSnapshotError
        If the policy itself no longer gives proper pmfs; such a one is never published.
    """
    policy.version = version
    blob = policy.snapshot()
    manifest = {
        **(facts or {}),
        "policy": policy.name,
        "config": _config_digest(policy),
        "sha256": hashlib.sha256(blob).hexdigest(),
        "canaries": [_canary_to_dict(policy, canary) for canary in canaries[-N_CANARIES:]],
    }
    return Snapshot(version, position, manifest, blob)


def load_snapshot(snapshot: Snapshot, make_policy: PolicyMaker, *, floor: float = 0.0) -> Policy:
    """The policy that was saved.

    Raises
    ------
    BadSnapshotError
        If a byte is not as it was, or if a canary is predicted differently (by more than 1e-6),
        not as a pmf, or below the exploration ``floor``. Where the policy's settings have changed
        since, expected qualities are compared instead of pmfs.
    OutdatedSnapshotError
        If it is another kind of policy, or if it does not pass and the settings have changed.
    """
    manifest, policy = snapshot.manifest, make_policy()
    if manifest.get("policy") != policy.name:
        raise OutdatedSnapshotError(f"saved by {manifest.get('policy')!r}, not by {policy.name!r}")
    if hashlib.sha256(snapshot.blob).hexdigest() != manifest.get("sha256"):
        raise BadSnapshotError("its SHA-256 is not that of its manifest")
    same_config = manifest.get("config") == _config_digest(policy)
    try:
        policy.restore(snapshot.blob)
        policy.version = snapshot.version
        for canary in manifest.get("canaries", ()):
            _check_canary(policy, canary, floor=floor, same_config=same_config)
    except BadSnapshotError as error:
        if same_config:
            raise
        raise OutdatedSnapshotError(error.why) from error
    return policy


def canaries_of(snapshot: Snapshot) -> list[Canary]:
    """The canaries that ``snapshot`` carries."""
    return [_canary_from_dict(data) for data in snapshot.manifest.get("canaries", ())]


class PolicyHolder:
    """The policy that serves now, and earlier ones for explaining.

    Parameters
    ----------
    make_policy
        Also makes the policy of before the first snapshot; its version is ``<name>-0``.
    floor
        Exploration floor that every snapshot must respect.
    schema_version
        Snapshots learned from other features are refused; None takes any.
    as_saved
        Makes the kind of policy that some bytes hold. Where settings have changed, such a one
        serves until the log was learned again, for it knows more than a fresh one.
    n_resolved
        Policies kept by `resolve`.
    """

    def __init__(
        self,
        log: DecisionLog,
        make_policy: PolicyMaker,
        *,
        floor: float = 0.0,
        schema_version: str | None = None,
        as_saved: Callable[[bytes], PolicyMaker] | None = None,
        n_resolved: int = 8,
    ) -> None:
        self._log = log
        self._make_policy = make_policy
        self._floor = floor
        self._schema_version = schema_version
        self._as_saved = as_saved
        self._knows_nothing = True
        self._n_resolved = n_resolved
        self._resolved: OrderedDict[str, Policy] = OrderedDict()
        self._seen: str | None = None
        self._outage = Outage(_LOG, "cannot look for a newer policy")
        self.refused: str | None = None
        self.current = _fresh(make_policy)

    async def refresh(self) -> bool:
        """Swap to the newest snapshot; whether there was a new one and it was good.

        A bad one is refused, ``refused`` says why, and the policy before stays; so does it while
        the log is not available.
        """
        try:
            version = await self._log.latest_version()
            known = version is None or version == self._seen
            snapshot = None if known else await self._log.get_snapshot(version or "")
        except PointsmanError as error:
            self._outage.failed(error)
            return False
        self._outage.worked()
        if snapshot is None:
            return False
        self._seen = snapshot.version
        return self._swap(snapshot)

    async def resolve(self, version: str) -> Policy:
        """The policy of ``version``, for explaining; not to be taught.

        Raises
        ------
        BadSnapshotError
            If it is no longer stored, or cannot be loaded.
        """
        if version == self.current.version:
            return self.current
        if version not in self._resolved:
            self._resolved[version] = await self._load(version)
        self._resolved.move_to_end(version)
        while len(self._resolved) > self._n_resolved:
            self._resolved.popitem(last=False)
        return self._resolved[version]

    async def _load(self, version: str) -> Policy:
        fresh = _fresh(self._make_policy)
        if version == fresh.version:
            return fresh
        snapshot = await self._log.get_snapshot(version)
        if snapshot is None:
            raise BadSnapshotError(f"version {version!r} is not stored (any more)")
        try:
            return load_snapshot(snapshot, self._make_policy)
        except OutdatedSnapshotError:
            return self._load_as_saved(snapshot)

    def _load_as_saved(self, snapshot: Snapshot, *, floor: float = 0.0) -> Policy:
        if self._as_saved is None:
            raise OutdatedSnapshotError("it was saved under other settings")
        return load_snapshot(snapshot, self._as_saved(snapshot.blob), floor=floor)

    def _swap(self, snapshot: Snapshot) -> bool:
        try:
            self._check_schema(snapshot)
            self.current = load_snapshot(snapshot, self._make_policy, floor=self._floor)
        except OutdatedSnapshotError as error:
            self.refused = f"{snapshot.version}: {error}"
            return self._stand_in(snapshot, error)
        except PointsmanError as error:
            self.refused = f"{snapshot.version}: {error}"
            _LOG.error("snapshot %s is refused: %s", snapshot.version, error)
            return False
        self.refused = None
        self._knows_nothing = False
        return True

    def _stand_in(self, snapshot: Snapshot, error: OutdatedSnapshotError) -> bool:
        """Serve what was saved as it was saved, if there is nothing better; whether it serves."""
        try:
            self._check_schema(snapshot)
            if not self._knows_nothing:
                raise error
            self.current = self._load_as_saved(snapshot, floor=self._floor)
        except PointsmanError:
            _LOG.warning(
                "snapshot %s is of other settings and is learned again from the log: %s",
                snapshot.version,
                error,
            )
            return False
        _LOG.warning(
            "snapshot %s is of other settings and serves as it was saved until the log is learned "
            "again: %s",
            snapshot.version,
            error,
        )
        return True

    def _check_schema(self, snapshot: Snapshot) -> None:
        found = snapshot.manifest.get("schema_version")
        if self._schema_version is not None and found != self._schema_version:
            raise OutdatedSnapshotError(
                f"learned from features {found!r}; these are {self._schema_version!r}"
            )


def _fresh(make_policy: PolicyMaker) -> Policy:
    policy = make_policy()
    policy.version = f"{policy.name}-0"
    return policy


def _canary_to_dict(policy: Policy, canary: Canary) -> dict[str, Any]:
    prediction = policy.predict(canary.context, canary.arms, canary.scenario)
    _check_pmf(prediction.pmf, 0.0)
    return {
        "context": base64.b64encode(pack_context(canary.context)).decode(),
        "arms": [arm_to_dict(arm) for arm in canary.arms],
        "scenario": scenario_to_dict(canary.scenario),
        "pmf": list(prediction.pmf),
        "quality": _qualities(prediction),
    }


def _canary_from_dict(data: Mapping[str, Any]) -> Canary:
    return Canary(
        unpack_context(base64.b64decode(data["context"])),
        tuple(arm_from_dict(arm) for arm in data["arms"]),
        scenario_from_dict(data["scenario"]),
    )


def _check_canary(
    policy: Policy, data: Mapping[str, Any], *, floor: float, same_config: bool
) -> None:
    canary = _canary_from_dict(data)
    prediction = policy.predict(canary.context, canary.arms, canary.scenario)
    _check_pmf(prediction.pmf, 0.0 if _priced(canary.scenario) else floor)
    found: Sequence[float] = _qualities(prediction)
    wanted: Sequence[float] = data["quality"]
    if same_config:
        found, wanted = (*found, *prediction.pmf), (*wanted, *data["pmf"])
    if len(found) != len(wanted) or any(
        not abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True)
    ):
        raise BadSnapshotError("a canary is predicted differently than when it was saved")


def _priced(scenario: Scenario) -> bool:
    """Whether a budget or an objective has a price on something: dear arms then have less floor."""
    return max(scenario.cost_price, scenario.latency_price, scenario.quality_price) > 0.0


def _qualities(prediction: Prediction) -> list[float]:
    return [e.quality for e in prediction.estimates if e.quality is not None]


def _config_digest(policy: Policy) -> str:
    """Digest of the policy's own settings, where it has any."""
    return hashlib.sha256(repr(getattr(policy, "config", None)).encode()).hexdigest()[:16]


def _check_pmf(pmf: Sequence[float], floor: float) -> None:
    if not all(math.isfinite(p) and 0.0 <= p <= 1.0 for p in pmf):
        raise BadSnapshotError("a canary's pmf has a value that is no probability")
    if abs(math.fsum(pmf) - 1.0) > TOLERANCE:
        raise BadSnapshotError("a canary's pmf does not sum to 1")
    # With many arms, the floor cannot be more than an even share.
    if min(pmf) < min(floor, 1.0 / len(pmf)) - TOLERANCE:
        raise BadSnapshotError("a canary's pmf falls below the exploration floor")
