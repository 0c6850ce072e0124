"""The cross-fitted reward model."""

import numpy as np
import pytest

from simulator.reward_model import Rows, cross_fitted, folds


def rows(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    arm = rng.integers(0, 2, n)
    reward = np.clip(0.5 + 0.1 * x[:, 0] * (2 * arm - 1), 0, 1)
    return Rows(x, arm, reward, 3)


def test_it_recovers_a_linear_reward():
    data = rows()
    fold = folds(np.arange(3000), 5, np.random.default_rng(0))
    found = cross_fitted(data, fold)
    np.testing.assert_allclose(found[np.arange(3000), data.arm], data.reward, atol=0.02)


def test_no_row_takes_part_in_its_own_prediction():
    """A changed reward changes the predictions of other folds only."""
    data = rows(200)
    fold = folds(np.arange(200), 4, np.random.default_rng(1))
    changed = Rows(data.features, data.arm, data.reward.copy(), 3)
    changed.reward[7] = 0.0
    moved = np.abs(cross_fitted(data, fold) - cross_fitted(changed, fold)).max(axis=1) > 0
    assert not moved[fold == fold[7]].any()
    assert moved[fold != fold[7]].any()


def test_an_arm_never_played_gets_the_mean():
    data = rows(100)
    fold = folds(np.arange(100), 5, np.random.default_rng(2))
    found = cross_fitted(data, fold)[:, 2]
    for k in range(5):
        assert found[fold == k] == pytest.approx(data.reward[fold != k].mean())


def test_groups_stay_together_and_folds_are_even():
    group = np.repeat(np.arange(50), 4)
    fold = folds(group, 5, np.random.default_rng(3))
    assert all(len(set(fold[group == g])) == 1 for g in range(50))
    assert np.bincount(fold).tolist() == [40] * 5


def test_predictions_are_rewards():
    rng = np.random.default_rng(4)
    data = Rows(100 * rng.normal(size=(60, 2)), np.zeros(60, int), (rng.random(60) < 0.5) * 1.0, 1)
    found = cross_fitted(data, folds(np.arange(60), 5, rng), penalty=1e-6)
    assert found.min() >= 0.0
    assert found.max() <= 1.0
