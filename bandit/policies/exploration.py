"""From estimates to probabilities."""

from collections.abc import Sequence


def inverse_gap_weighting(
    utilities: Sequence[float], *, gamma: float, floor: float
) -> tuple[float, ...]:
    """The pmf that explores less the worse an arm looks.

    ``p_a = 1 / (K + gamma (u_best - u_a))`` for every arm but the best, which takes the rest
    (Abe and Long, "Associative reinforcement learning using linear probabilistic concepts", 1999;
    Foster and Rakhlin, "Beyond UCB", 2020, eq. 3, with gamma held constant so that a world that
    drifts is still looked at). Then every arm is lifted to ``min(floor, 1/K)`` at the expense of
    the best; the best keeps at least 1/K. Ties go to the first arm.

    Examples
    --------
    >>> inverse_gap_weighting([0.25, 0.5], gamma=8.0, floor=0.02)
    (0.25, 0.75)
    >>> inverse_gap_weighting([0.25, 0.5], gamma=1e9, floor=0.125)
    (0.125, 0.875)
    """
    k = len(utilities)
    best = max(range(k), key=utilities.__getitem__)
    least = min(floor, 1.0 / k)
    top = utilities[best]
    pmf = [max(least, 1.0 / (k + gamma * (top - u))) for u in utilities]
    pmf[best] = 1.0 - sum(p for i, p in enumerate(pmf) if i != best)
    return tuple(pmf)
