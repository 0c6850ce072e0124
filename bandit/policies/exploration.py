"""From estimates to probabilities."""

import math
from collections.abc import Sequence

_BLUNTEST = 0.1
_SHARPEST = 4.0


def inverse_gap_weighting(
    utilities: Sequence[float], *, gamma: float, floor: float | Sequence[float]
) -> tuple[float, ...]:
    """The pmf that explores less the worse an arm looks.

    ``p_a = 1 / (K + gamma (u_best - u_a))`` for every arm but the best, which takes the rest
    (Abe and Long, "Associative reinforcement learning using linear probabilistic concepts", 1999;
    Foster and Rakhlin, "Beyond UCB", 2020, eq. 3, with gamma held constant so that a world that
    drifts is still looked at). Then every arm is lifted to ``min(floor, 1/K)`` at the expense of
    the best, which keeps at least 1/K; ``floor`` may have a value for each arm. Ties go to the
    first arm.

    Examples
    --------
    >>> inverse_gap_weighting([0.25, 0.5], gamma=8.0, floor=0.02)
    (0.25, 0.75)
    >>> inverse_gap_weighting([0.25, 0.5], gamma=1e9, floor=0.125)
    (0.125, 0.875)
    """
    k = len(utilities)
    best = max(range(k), key=utilities.__getitem__)
    even, top = 1.0 / k, utilities[best]
    floors = [floor] * k if isinstance(floor, float) else floor
    pmf = [
        max(min(least, even), 1.0 / (k + gamma * (top - u)))
        for u, least in zip(utilities, floors, strict=True)
    ]
    pmf[best] = 1.0 - sum(p for i, p in enumerate(pmf) if i != best)
    return tuple(pmf)


def growing(gamma: float, n_votes: int, votes: int) -> float:
    """Gamma after ``n_votes``, where ``gamma`` is that of after ``votes``; constant if those are 0.

    It grows with the square root of what was learned (Foster and Rakhlin, "Beyond UCB", 2020,
    theorem 1), from a tenth to four times: what is not known yet is looked at, and a world that
    drifts never ceases to be.

    Examples
    --------
    >>> [growing(20.0, n, 625) for n in (0, 625, 2500, 10**6)]
    [2.0, 20.0, 40.0, 80.0]
    """
    if votes == 0:
        return gamma
    return gamma * min(_SHARPEST, max(_BLUNTEST, math.sqrt(n_votes / votes)))
