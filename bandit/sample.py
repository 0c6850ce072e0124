"""The rows of a decision log that off-policy estimators read, as arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.errors import BanditError
from bandit.intervals import Array


class BadSampleError(BanditError):
    """Arrays that are not a log: the field, and what it should be."""

    def __init__(self, field: str, want: str) -> None:
        super().__init__(f"off-policy sample: {field} must be {want}")
        self.field = field
        self.want = want


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Logged rows as arrays of shape (..., n), checked once.

    Attributes
    ----------
    reward
        In [0, 1].
    propensity
        Probability with which the logged arm was drawn, in (0, 1].
    target
        Probability that the target policy gives the logged arm, in [0, 1].
    q_logged, q_target
        A model's reward for the logged arm and its mean under the target, or both None. Fitted on
        other rows (cross-fitting), or the doubly robust estimates are biased.
    observation_probability
        Where a row's outcome can be seen in more ways than by drawing its arm
        (`bandit.support.outcome_observation`): divides in place of the propensity.
    session
        Group of each row, shape (n,): rows of a session may depend on one another.
    """

    reward: Array
    propensity: Array
    target: Array
    q_logged: Array | None = None
    q_target: Array | None = None
    observation_probability: Array | None = None
    session: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name, low in (
            ("reward", 0.0),
            ("propensity", np.nextafter(0.0, 1.0)),
            ("target", 0.0),
            ("q_logged", None),
            ("q_target", None),
            ("observation_probability", np.nextafter(0.0, 1.0)),
        ):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, self._checked(name, low))
        if (self.q_logged is None) != (self.q_target is None):
            raise BadSampleError("q_logged and q_target", "given together")
        if self.session is not None:
            groups = np.unique(np.asarray(self.session), return_inverse=True)[1]
            if groups.shape != self.reward.shape[-1:]:
                raise BadSampleError("session", "as long as reward")
            object.__setattr__(self, "session", groups)

    def _checked(self, name: str, low: float | None) -> Array:
        values = np.asarray(getattr(self, name), dtype=np.float64)
        if values.ndim == 0 or values.shape[-1] == 0 or values.shape != np.shape(self.reward):
            raise BadSampleError(name, "a non-empty array shaped like reward")
        if not np.isfinite(values).all():
            raise BadSampleError(name, "finite")
        if low is not None and (values.min() < low or values.max() > 1.0 + 1e-9):
            raise BadSampleError(name, "in [0, 1]" if low == 0.0 else "in (0, 1]")
        return values

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.reward.shape[-1])

    @property
    def weight(self) -> Array:
        """Importance weights ``w = π / p``."""
        seen = self.observation_probability
        return np.asarray(self.target / (self.propensity if seen is None else seen))

    def modelled(self) -> tuple[Array, Array]:
        """``q_logged`` and ``q_target``.

        Raises
        ------
        BadSampleError
            If there is no model.
        """
        if self.q_logged is None or self.q_target is None:
            raise BadSampleError("q_logged and q_target", "given for a doubly robust estimate")
        return self.q_logged, self.q_target
