"""Was a warm start right? Live votes say so, and a wrong one is forgotten."""

import math
from collections.abc import Mapping
from typing import Any

from bandit.primitives import Decision

WARM = "warm"
"""The ``policy_version`` of predictions that nobody was routed by: their lessons were taught."""
_TRIAL = 500
"""Live votes for which a warm start is on trial."""
_LEAST = 20
_SURE = 3.0
"""Standard errors by which the taught must be worse than the ignorant."""
_PRIOR = 0.7


class Doubt:
    """Compares what a warm start makes a policy predict with the running mean of live votes.

    With ``d`` the difference of their squared errors, vote by vote, the warm start is refuted when
    ``sum(d) > 3 sqrt(sum(d^2))``: it predicts worse than one who knows nothing of queries. A policy
    that was never taught is never in doubt, so that drift is none of this class's business.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self._load(saved or {})

    def _load(self, state: Mapping[str, Any]) -> None:
        self._on_trial: bool = state.get("on_trial", False)
        self._n: int = state.get("n", 0)
        self._sum: float = state.get("sum", 0.0)
        self._squares: float = state.get("squares", 0.0)
        self._means: dict[str, list[float]] = {k: [*v] for k, v in state.get("means", {}).items()}

    def refutes(self, decision: Decision, quality: float) -> bool:
        """Whether this vote is the one that refutes what was taught; the trial ends with it."""
        if decision.prediction.policy_version == WARM:
            if not self._on_trial or self._n:
                self._load({"on_trial": True})
            return False
        if not self._on_trial:
            return False
        said = _expected(decision)
        if said is None:
            return False
        total, count = self._means.get(decision.arm, (_PRIOR, 1.0))
        self._means[decision.arm] = [total + quality, count + 1.0]
        d = (quality - said) ** 2 - (quality - total / count) ** 2
        self._n, self._sum, self._squares = self._n + 1, self._sum + d, self._squares + d * d
        refuted = self._n >= _LEAST and self._sum > _SURE * math.sqrt(self._squares)
        self._on_trial = not refuted and self._n < _TRIAL
        return refuted

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        return {
            "on_trial": self._on_trial,
            "n": self._n,
            "sum": self._sum,
            "squares": self._squares,
            "means": self._means,
        }


def _expected(decision: Decision) -> float | None:
    estimates = decision.prediction.estimates
    return estimates[decision.prediction.arms.index(decision.arm)].quality if estimates else None
