"""What detectors are measured against."""

import math

import numpy as np
import pytest

from bandit.drift import DetectorConfig
from simulator.detecting import Trial, binary, graded, measure, optimal

DROP = Trial("binary, .92 to .75", binary, 0.92, 0.75)


def test_the_optimal_detector_waits_about_as_long_as_theory_says():
    """A threshold of 9.4 by steps of .132, the Kullback-Leibler divergence of .75 from .92, is 71
    votes on average; the median is some shorter. One calm stream in a hundred may raise an alarm:
    of 100, five or more with probability .004."""
    found = optimal(DROP, runs=100)
    assert 45 < found.median < 80
    assert found.false_alarms < 0.05


def test_ours_is_told_neither_rate_after_the_change_and_little_slower():
    """Its median in 300 runs is 68, that of the optimal detector 62; scatter of the median of 100
    such waits is about 5."""
    found = measure(DROP, DetectorConfig(), runs=100)
    assert found.median < 85
    assert found.false_alarms < 0.05


def test_votes_are_drawn_at_their_rate_and_scores_at_their_mean():
    rng = np.random.default_rng(0)
    assert binary(rng, 4000, 0.75).mean() == pytest.approx(0.75, abs=4 * math.sqrt(0.1875 / 4000))
    scores = rng.normal(0.5, 0.05, 500)
    assert graded(scores)(rng, 4000, 0.6).mean() == pytest.approx(0.6, abs=0.01)
