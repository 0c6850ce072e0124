"""Confidence sequences hold at every step at once, for at least 95 % of logs.

Miscoverage is at most .05 by Ville's inequality. A sequence that spent all of that would exceed .05
in half of the tests; these spend far less (seen: under 1 %, whose share among 600 logs has standard
deviation .004), so the plain bound .05 is a sound test.
"""

import numpy as np
import pytest

from bandit.confseq import lift_sequence, value_sequence
from tests.worlds import BALANCED, GOOD

pytestmark = pytest.mark.statistical

N_LOGS = 600
BATCH = 60


def missed(sequence, truth):
    """Logs that leave ``truth`` outside at some step."""
    return int(((sequence.low > truth) | (sequence.high < truth)).any(axis=-1).sum())


@pytest.mark.parametrize(("world", "floor"), [(BALANCED, 0.05), (GOOD, 0.02), (GOOD, 0.1)])
def test_peeking_after_every_row_misses_at_most_five_per_cent(world, floor):
    rng = np.random.default_rng(17)
    count = 0
    for _ in range(N_LOGS // BATCH):
        logs = world.logs(rng, n_logs=BATCH, n=2000, floor=floor, shuffled=True)
        found = value_sequence(logs.weight, logs.reward, w_max=1 / floor)
        count += missed(found, world.value)
    assert count / N_LOGS <= 0.05


def test_an_ordinary_interval_does_not_survive_peeking():
    """The test above has teeth: 1.96 standard errors after every row miss far more."""
    logs = BALANCED.logs(np.random.default_rng(3), n_logs=200, n=2000, floor=0.05, shuffled=True)
    terms = 0.5 + logs.weight * (logs.reward - 0.5)
    count = np.arange(1, 2001)
    mean = np.cumsum(terms, axis=1) / count
    deviation = np.sqrt(np.maximum(np.cumsum(terms**2, axis=1) / count - mean**2, 0) / count)
    outside = np.abs(mean - BALANCED.value) > 1.96 * deviation
    assert outside[:, 50:].any(axis=1).mean() > 0.2


def drifting_logs(rng, *, n_logs, n):
    """A world that drifts, logged by a policy that learns: weights, rewards, running true values.

    Arm 1 pays .5. Arm 0, the target's, pays .8 and .4 by turns of 250 rows. The logging policy
    favours the arm with the better running mean of its own rewards, with a floor of .1.
    """
    weight, reward = np.empty((2, n_logs, n))
    sums, counts = np.full((2, n_logs), 0.5), np.ones((2, n_logs))
    pays = np.where(np.arange(n) // 250 % 2 == 0, 0.8, 0.4)
    for t in range(n):
        p = np.where(sums[0] / counts[0] >= sums[1] / counts[1], 0.9, 0.1)
        first = rng.random(n_logs) < p
        reward[:, t] = rng.random(n_logs) < np.where(first, pays[t], 0.5)
        weight[:, t] = np.where(first, 1 / p, 0.0)
        for arm, drawn in ((0, first), (1, ~first)):
            sums[arm] += drawn * reward[:, t]
            counts[arm] += drawn
    return weight, reward, np.cumsum(pays) / np.arange(1, n + 1)


def test_drift_and_a_learning_logger_do_not_break_it():
    weight, reward, truth = drifting_logs(np.random.default_rng(8), n_logs=N_LOGS, n=1500)
    count = 0
    for start in range(0, N_LOGS, BATCH):
        rows = slice(start, start + BATCH)
        count += missed(value_sequence(weight[rows], reward[rows], w_max=10.0), truth)
    assert count / N_LOGS <= 0.05


def test_false_promotions_are_at_most_five_per_cent():
    """Two arms worth the same, watched after every row: the challenger is seldom called better."""
    rng = np.random.default_rng(21)
    promoted = 0
    for _ in range(N_LOGS // BATCH):
        first = rng.random((BATCH, 2000)) < 0.1
        reward = (rng.random((BATCH, 2000)) < 0.7) * 1.0
        found = lift_sequence(np.where(first, 10.0, 0.0), reward, w_max=10.0)
        promoted += int((found.low > 0).any(axis=-1).sum())
    assert promoted / N_LOGS <= 0.05


def test_a_better_challenger_is_promoted_within_two_thousand_rows():
    """Worth .85 against .6 with 10 % exploration: the bound excludes 0 in nearly every log."""
    rng = np.random.default_rng(22)
    first = rng.random((200, 2000)) < 0.1
    reward = (rng.random((200, 2000)) < np.where(first, 0.85, 0.6)) * 1.0
    found = lift_sequence(np.where(first, 10.0, 0.0), reward, w_max=10.0)
    assert (found.low[:, -1] > 0).mean() > 0.9
    assert missed(found, 0.85 - (0.1 * 0.85 + 0.9 * 0.6)) / 200 <= 0.05


def test_ten_thousand_rows_at_a_floor_of_five_per_cent_give_nine_hundredths():
    """Half-width, mean of 20 logs; vw-estimators' sequence needs about .10 here."""
    logs = BALANCED.logs(np.random.default_rng(1), n_logs=20, n=10_000, floor=0.05, shuffled=True)
    found = value_sequence(
        logs.weight, logs.reward, w_max=20.0, steps=np.array([100, 1000, 10_000])
    )
    half = (found.high - found.low).mean(axis=0) / 2
    assert half[-1] <= 0.09
    assert half[0] > half[1] > half[2]
