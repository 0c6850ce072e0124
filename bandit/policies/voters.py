"""Who votes: a missing vote is not a bad one, and those who vote are not everybody.

``P(vote | x, arm)`` by a logistic regression on the query's small features. Votes come late or
never, so every answer counts as silent when it is given, and as voted when a vote comes: the model
then learns the odds ``s / (1 - s)``, which are the probability itself (Ktena et al., "Addressing
delayed feedback for continuous training with neural networks in CTR prediction", RecSys 2019, fake
negative calibration). Steps by AdaGrad (Duchi, Hazan and Singer, JMLR 2011).

Weights of ``mean / P``, clipped, undo what depends on the query and the arm. A vote that depends on
the quality itself, beyond both, cannot be undone by any weight.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bandit.primitives import FloatVector

_STEP = 0.1
_PRIOR = 0.1


class Voters:
    """The model; one vector of weights for all arms, and a constant for each."""

    def __init__(self, n_features: int, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self._w = np.array(state.get("w", np.zeros(n_features)), dtype=np.float64)
        self._g = np.array(state.get("g", np.ones(n_features)), dtype=np.float64)
        self._arms: dict[str, list[float]] = {k: [*v] for k, v in state.get("arms", {}).items()}
        self.n_answers: int = state.get("n_answers", 0)
        self.n_votes: int = state.get("n_votes", 0)

    @property
    def rate(self) -> float:
        """Votes by answers, over all."""
        return (self.n_votes + 10 * _PRIOR) / (self.n_answers + 10)

    def probability(self, x: FloatVector, arm: str) -> float:
        """Chance that somebody votes on ``arm``'s answer to ``x`` of shape (n_features,)."""
        return min(1.0, math.exp(min(0.0, self._score(x, arm))))

    def weight(self, x: FloatVector, arm: str, *, most: float) -> float:
        """Importance of a vote, around 1 and at most ``most``."""
        return min(most, self.rate / max(1e-9, self.probability(x, arm)))

    def answered(self, x: FloatVector, arm: str) -> None:
        """An answer was given; nobody has voted yet."""
        self.n_answers += 1
        self._learn(x, arm, 0.0)

    def voted(self, x: FloatVector, arm: str) -> None:
        """Somebody voted on an answer that was counted before."""
        self.n_votes += 1
        self._learn(x, arm, 1.0)

    def _score(self, x: FloatVector, arm: str) -> float:
        constant = self._arms.get(arm, (math.log(_PRIOR), 1.0))[0]
        return float(self._w.dot(x)) + constant

    def _learn(self, x: FloatVector, arm: str, label: float) -> None:
        score = max(-30.0, min(30.0, self._score(x, arm)))
        slope = 1.0 / (1.0 + math.exp(-score)) - label
        own = self._arms.setdefault(arm, [math.log(_PRIOR), 1.0])
        own[1] += slope * slope
        own[0] -= _STEP * slope / math.sqrt(own[1])
        slopes = slope * x
        self._g += slopes * slopes
        self._w -= _STEP * slopes / np.sqrt(self._g)

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain data."""
        return {
            "w": self._w.tolist(),
            "g": self._g.tolist(),
            "arms": self._arms,
            "n_answers": self.n_answers,
            "n_votes": self.n_votes,
        }
