"""A reward model fitted on the same log does not bias a doubly robust estimate."""

import numpy as np
import pytest

from bandit.influence import bounds, dr_influence
from bandit.sample import Sample
from simulator.reward_model import Rows, cross_fitted, folds

pytestmark = pytest.mark.statistical

N_LOGS, N, D = 1000, 300, 60


def one_log(rng):
    """Pure noise in 60 features, 0/1 rewards of mean .7 for arm 0 and .5 for arm 1, floor .2."""
    x = rng.normal(size=(N, D))
    p = np.where(x[:, 0] > 0, 0.8, 0.2)
    arm = (rng.random(N) >= p).astype(np.int64)
    reward = (rng.random(N) < np.where(arm == 0, 0.7, 0.5)) * 1.0
    return Rows(x, arm, reward, 2), np.where(arm == 0, p, 1 - p)


def estimate(rng, *, crossed):
    rows, propensity = one_log(rng)
    fold = folds(np.arange(N), 5, rng)
    if crossed:
        q = cross_fitted(rows, fold, penalty=0.1)
    else:
        # The same regressions, each on all rows of its arm, those that it is applied to included.
        twice = Rows(*(np.concatenate([a, a]) for a in (rows.features, rows.arm, rows.reward)), 2)
        q = cross_fitted(twice, np.repeat([0, 1], N), penalty=0.1)[:N]
    target = (rows.arm == 0) * 1.0
    sample = Sample(rows.reward, propensity, target, q[np.arange(N), rows.arm], q[:, 0])
    influence = dr_influence(sample)
    return float(influence.value), *map(float, bounds(influence, sample))


def test_with_cross_fitting_the_mean_is_the_truth_and_intervals_cover():
    """The mean of 1,000 estimates lies within 4 of its standard errors; coverage has a standard
    deviation of .0069, so a right interval leaves [.92, .98] with probability 1e-5."""
    rng = np.random.default_rng(31)
    value, low, high = np.array([estimate(rng, crossed=True) for _ in range(N_LOGS)]).T
    assert abs(value.mean() - 0.7) <= 4 * value.std() / np.sqrt(N_LOGS)
    assert 0.92 <= ((low <= 0.7) & (high >= 0.7)).mean() <= 0.98


def test_without_cross_fitting_intervals_promise_too_much():
    """Sixty useless features fit the noise of 150 rows an arm: residuals look too small."""
    rng = np.random.default_rng(31)
    _, low, high = np.array([estimate(rng, crossed=False) for _ in range(N_LOGS)]).T
    assert ((low <= 0.7) & (high >= 0.7)).mean() < 0.92
