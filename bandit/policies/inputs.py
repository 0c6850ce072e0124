"""What every learning policy does with its input: lay it flat, refuse what would poison."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from bandit.errors import BadInteractionError, BadSnapshotError
from bandit.policies.vw import MAX_ARMS, check_features
from bandit.primitives import Arm, Context, FloatVector, Interaction

_SMALLEST = np.float32(1e-6)
"""Features closer to 0 than this are 0."""
_RANGES = (
    ("quality", 0.0, 1.0),
    ("cost_usd", 0.0, 1e6),
    ("latency_s", 0.0, 1e7),
    ("value", 0.0, 1.0),
)


def check_interaction(interaction: Interaction) -> None:
    """Raise `BadInteractionError` unless every number is finite and in its range."""
    reward = interaction.reward
    for name, low, high in _RANGES:
        value = getattr(reward, name)
        # What is not a number lies in no range.
        if value is not None and not low <= value <= high:
            raise BadInteractionError(name, value)
    _check_draw("propensity", interaction.decision.propensity)
    if interaction.gating is not None:
        _check_draw("gating.propensity", interaction.gating.propensity)
    for name, value in interaction.signals.items():
        if not math.isfinite(value):
            raise BadInteractionError(f"signals.{name}", value)
    if not 0.0 < interaction.weight <= 1e3:
        raise BadInteractionError("weight", interaction.weight)


def _check_draw(name: str, p: float) -> None:
    if not 0.0 < p <= 1.0:
        raise BadInteractionError(name, p)


def check_judgement(interaction: Interaction) -> None:
    """Raise `BadInteractionError` unless scores and verdicts are in [0, 1], chances above 0."""
    said = interaction.judgement
    if said is None:
        return
    for name in ("score", "verdict", "probe_score", "audit_probability", "probe_rate"):
        value = getattr(said, name)
        if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise BadInteractionError(f"judgement.{name}", value)
    for name in ("audit_probability", "probe_rate"):
        if getattr(said, name) == 0.0:
            raise BadInteractionError(f"judgement.{name}", 0.0)


class Layout:
    """Lays the vectors of a context end to end, in the order of the schema.

    Parameters
    ----------
    schema
        Namespace to length.
    """

    def __init__(self, schema: Mapping[str, int]) -> None:
        self.schema = dict(schema)
        self.n_features = sum(self.schema.values())
        # A query is often asked for and then learned, and its answer and its vote one after the
        # other.
        self._flat: tuple[Context, FloatVector] | None = None
        self._taught: tuple[Context, FloatVector] | None = None

    def names(self) -> list[str]:
        """``namespace[i]`` of every feature, in order."""
        return [f"{name}[{i}]" for name, n in self.schema.items() for i in range(n)]

    def places(self, namespaces: Iterable[str]) -> NDArray[np.intp]:
        """Where the features of some namespaces lie in `flatten`'s vector, ascending."""
        chosen = set(namespaces)
        of = [name for name, n in self.schema.items() for _ in range(n)]
        return np.array([i for i, name in enumerate(of) if name in chosen], dtype=np.intp)

    def kinds(self) -> NDArray[np.intp]:
        """Where the features lie that say what a query is about; all, where none does."""
        about = self.places({"embedding", "cluster"})
        return about if len(about) else self.places(self.schema)

    def flatten(self, context: Context) -> FloatVector:
        """The context as one vector of shape (n_features,).

        Raises
        ------
        BadInteractionError
            If the context has another layout, or a value that is not finite.
        """
        last = self._flat
        if last is not None and last[0] is context:
            return last[1]
        vectors = context.namespaces
        parts = [vectors[name] for name in self.schema if name in vectors]
        x = np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
        if len(x) != self.n_features:
            raise BadInteractionError("context", f"{len(x)} values instead of {self.n_features}")
        # Squares of values of order 1 have a finite sum in float32; one NaN or infinity has not.
        if not math.isfinite(x.dot(x)):
            raise BadInteractionError("context", "a value that is not finite")
        self._flat = context, x
        return x

    def flatten_to_learn(self, context: Context) -> FloatVector:
        """As `flatten`, with what is next to nothing made nothing.

        ``--coin`` divides by squares of features: one of 1e-30 would make its weights NaN.

        Raises
        ------
        BadInteractionError
            As `flatten`, and for values that are far too large.
        """
        last = self._taught
        if last is not None and last[0] is context:
            return last[1]
        x = self.flatten(context)
        check_features(x)
        x = x.copy()
        x[np.abs(x) < _SMALLEST] = 0.0
        self._taught = context, x
        return x


def key_of(arm: Arm) -> str:
    """What an arm's lessons are kept under: another model behind the same id is another matter."""
    return f"{arm.arm_id} {arm.digest}" if arm.digest else arm.arm_id


class Blocks:
    """Gives every arm a block of weights, in the order in which arms are first seen.

    Looking up an unknown arm does not change anything: it reads the block that it will get.
    """

    def __init__(self, arms: Iterable[str] = ()) -> None:
        self.arms = list(arms)

    def of(self, arm_id: str) -> int:
        """The arm's block, or the next free one."""
        return self.arms.index(arm_id) if arm_id in self.arms else len(self.arms)

    def add(self, arm_id: str) -> int:
        """The arm's block, which is its own from now on."""
        if arm_id not in self.arms:
            if len(self.arms) >= MAX_ARMS - 1:
                raise BadSnapshotError(f"more than {MAX_ARMS - 1} arms were seen")
            self.arms.append(arm_id)
        return self.arms.index(arm_id)
