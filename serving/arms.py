"""The configured arms, and what is measured of them while they answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bandit.primitives import Arm, Tier
from serving.backends.base import Load
from serving.energy import EnergyBoard, EnergyRate
from serving.pricing import Price

EVERYTHING = "*"
"""The capability of an arm that honours whatever is asked."""

_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """An arm as configured.

    Attributes
    ----------
    capabilities
        What it honours: ``tools``, ``images``, ``json_schema``, ``json_object``, ``logprobs``,
        ``n``, ...; ``*`` stands for everything, as behind a gateway that passes fields on.
    context_tokens
        Most tokens of query and answer together; None where it is not known.
    digest
        Fingerprint of the model.
    energy
        What tokens take where nothing is measured.
    parts
        Of a cascade: ids of the arm that answers first and of the one that may answer instead.
    hold_tokens
        Of a cascade: tokens after which the gate decides about a stream; None for its end.
    answer_tokens
        Most tokens of one answer, by the provider's own limit; None where it is not known.
    """

    arm_id: str
    tier: Tier
    model: str
    price: Price = field(default_factory=Price)
    capabilities: frozenset[str] = frozenset()
    context_tokens: int | None = None
    digest: str = ""
    energy: EnergyRate = field(default_factory=EnergyRate)
    parts: tuple[str, ...] = ()
    hold_tokens: int | None = None
    answer_tokens: int | None = None


def joined(
    arm_id: str, edge: ArmSpec, cloud: ArmSpec, *, hold_tokens: int | None = None
) -> ArmSpec:
    """The cascade of two arms: what both honour, room for what both can read.

    Its price stays unknown, for what it costs depends on the gate; its digest changes with either.

    Examples
    --------
    >>> some, any_ = frozenset({"json_object"}), frozenset({"*"})
    >>> edge = ArmSpec("edge", "edge", "small", capabilities=some, context_tokens=2048)
    >>> cascade = joined("both", edge, ArmSpec("cloud", "cloud", "large", capabilities=any_))
    >>> cascade.model, sorted(cascade.capabilities), cascade.context_tokens, cascade.parts
    ('small+large', ['json_object'], 2048, ('edge', 'cloud'))
    """
    rooms = [part.context_tokens for part in (edge, cloud) if part.context_tokens is not None]
    return ArmSpec(
        arm_id,
        "cascade",
        f"{edge.model}+{cloud.model}",
        capabilities=_common(edge.capabilities, cloud.capabilities),
        context_tokens=min(rooms, default=None),
        digest=f"{edge.digest}+{cloud.digest}",
        parts=(edge.arm_id, cloud.arm_id),
        hold_tokens=hold_tokens,
    )


def _common(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    if EVERYTHING in one:
        return other
    return one if EVERYTHING in other else one & other


class LatencyBoard:
    """Recent latency of every arm: an exponential mean on the log scale, so outliers fade soon.

    Examples
    --------
    >>> board = LatencyBoard()
    >>> board.record("edge", 2.0)
    >>> board.recent_s("edge")
    2.0
    """

    def __init__(self, *, smoothing: float = _SMOOTHING) -> None:
        self._smoothing = smoothing
        self._log_s: dict[str, float] = {}

    def record(self, arm_id: str, latency_s: float) -> None:
        """Take in the latency of one full answer, in seconds."""
        seen = math.log(max(latency_s, 1e-4))
        last = self._log_s.get(arm_id, seen)
        self._log_s[arm_id] = last + self._smoothing * (seen - last)

    def recent_s(self, arm_id: str) -> float | None:
        """Recent latency in seconds; None before the first answer."""
        logged = self._log_s.get(arm_id)
        return None if logged is None else round(math.exp(logged), 6)


def live_arms(
    specs: Sequence[ArmSpec],
    loads: Mapping[str, Load],
    board: LatencyBoard,
    energy: EnergyBoard | None = None,
) -> tuple[Arm, ...]:
    """The arms as they are now: configuration, recent latency and energy, predicted wait.

    Who asks a cascade waits for its first part.
    """
    return tuple(
        _live(spec, loads[_first(spec)].wait_s, board, energy or EnergyBoard()) for spec in specs
    )


def _first(spec: ArmSpec) -> str:
    return spec.parts[0] if spec.parts else spec.arm_id


def _live(spec: ArmSpec, wait_s: float, board: LatencyBoard, energy: EnergyBoard) -> Arm:
    recent = {
        "latency_s": board.recent_s(spec.arm_id),
        "energy_j": energy.recent_j(spec.arm_id),
    }
    known = {name: value for name, value in recent.items() if value is not None}
    features = {"queue_s": wait_s, **known}
    return Arm(
        spec.arm_id,
        spec.tier,
        spec.model,
        spec.price.price_in,
        spec.price.price_out,
        spec.capabilities,
        spec.context_tokens,
        spec.digest,
        features,
        spec.parts,
    )
