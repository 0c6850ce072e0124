"""A simple model of the reward, for doubly robust estimates."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What the model is fitted on.

    Attributes
    ----------
    features
        Shape (n, d).
    arm
        Index of the arm of each row, shape (n,).
    reward
        In [0, 1], shape (n,).
    n_arms
        How many arms there are, played or not.
    """

    features: Floats
    arm: Ints
    reward: Floats
    n_arms: int


def folds(group: Ints, n_folds: int, rng: Generator) -> Ints:
    """A fold in ``[0, n_folds)`` for every row; rows of one group share theirs, shape (n,)."""
    n_groups = int(group.max()) + 1
    return np.asarray(rng.permutation(n_groups)[group] % n_folds, dtype=np.int64)


def cross_fitted(
    rows: Rows, fold: Ints, *, penalty: float = 10.0, ask: tuple[Floats, Ints] | None = None
) -> Floats:
    """Every arm's expected reward for every row, by ridge regressions that never saw the row.

    One regression per arm and fold, on the rows of that arm in the other folds, with a free
    intercept. As the model is independent of the row that it is applied to, a doubly robust
    estimate keeps its mean whatever the model is worth (Chernozhukov et al., "Double/debiased
    machine learning", Econometrics Journal 2018).

    Parameters
    ----------
    fold
        Shape (n,), from `folds`.
    penalty
        On the squared weights, intercept excepted; in rows.
    ask
        Features (m, d) and folds (m,) of the rows to predict for, if not those that teach.

    Returns
    -------
    ndarray of shape (n or m, n_arms)
        In [0, 1]. An arm without rows elsewhere gets the mean reward of the other folds.
    """
    design = np.column_stack([rows.features, np.ones(len(rows.reward))])
    features, fold_asked = (rows.features, fold) if ask is None else ask
    asked = np.column_stack([features, np.ones(len(features))])
    n_folds = int(max(fold.max(), fold_asked.max())) + 1
    predicted = np.empty((len(asked), rows.n_arms))
    for arm in range(rows.n_arms):
        parts = [_moments(design, rows, (rows.arm == arm) & (fold == k)) for k in range(n_folds)]
        gram, cross = sum(g for g, _ in parts), sum(c for _, c in parts)
        for k, (gram_k, cross_k) in enumerate(parts):
            held = fold_asked == k
            weights = _solve(gram - gram_k, cross - cross_k, penalty)
            if weights is None:
                others = rows.reward[fold != k]
                predicted[held, arm] = others.mean() if len(others) else 0.5
            else:
                predicted[held, arm] = asked[held] @ weights
    return np.asarray(np.clip(predicted, 0.0, 1.0))


def _moments(design: Floats, rows: Rows, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    part = design[mask]
    return np.asarray(part.T @ part), np.asarray(part.T @ rows.reward[mask])


def _solve(gram: Floats, cross: Floats, penalty: float) -> Floats | None:
    """Ridge weights, intercept last; None if there is no row."""
    if gram[-1, -1] < 1.0:
        return None
    ridge = np.full(len(gram), penalty)
    ridge[-1] = 1e-9
    return np.asarray(np.linalg.solve(gram + np.diag(ridge), cross))
