"""The one place where chance enters a decision."""

from numpy.random import Generator

from bandit.primitives import Prediction


def draw(prediction: Prediction, rng: Generator) -> tuple[str, float]:
    """Draw an arm from ``prediction.pmf``; returns it with its propensity.

    Examples
    --------
    >>> import numpy as np
    >>> draw(Prediction(("edge", "cloud"), (0.0, 1.0), "v1"), np.random.default_rng(0))
    ('cloud', 1.0)
    """
    point = rng.random()
    for arm, p in zip(prediction.arms, prediction.pmf, strict=True):
        if point < p:
            return arm, p
        point -= p
    # Rounding left a sliver above the sum: it belongs to the last arm that can be drawn.
    return next(
        (arm, p)
        for arm, p in zip(reversed(prediction.arms), reversed(prediction.pmf), strict=True)
        if p > 0.0
    )
