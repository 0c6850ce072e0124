"""What happened in a run, one number per round and column: flat arrays, no objects."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Narrow = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trace:
    """Columns of shape (rounds,); about 60 bytes a round.

    Attributes
    ----------
    arm
        Index of the arm that answered; a cascade comes after the models.
    propensity
        Of the arm that was drawn.
    advantage
        Utility of the last arm over the first as the policy predicted it before it learned from
        the round; NaN where one of them was not eligible.
    predicted
        Quality that the policy expected of the arm that answered; NaN where it does not say.
    best
        Reward of the best arm.
    edge_quality, cloud_quality
        What the first and the last arm would have scored.
    edge_s, cloud_s
        How long the first and the last arm would have taken.
    accepts
        Probability with which a cascade's gate accepts; NaN where no cascade was drawn.
    verdict
        1 where a cascade kept the edge's answer, 2 where it asked the cloud, 0 without one.
    """

    arm: NDArray[np.int8]
    propensity: Narrow
    advantage: Narrow
    predicted: Narrow
    quality: Narrow
    cost_usd: Narrow
    latency_s: Narrow
    reward: Narrow
    best: Narrow
    edge_quality: Narrow
    cloud_quality: Narrow
    edge_s: Narrow
    cloud_s: Narrow
    accepts: Narrow
    verdict: Narrow

    @classmethod
    def empty(cls, rounds: int) -> "Trace":
        """Room for ``rounds`` rounds."""
        columns = {f.name: np.zeros(rounds, dtype=np.float32) for f in fields(cls)[1:]}
        return cls(arm=np.zeros(rounds, dtype=np.int8), **columns)

    def window(self, start: int, end: int) -> "Trace":
        """The rounds from ``start`` to ``end``, as views."""
        return Trace(*(getattr(self, f.name)[start:end] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.arm)
