"""A judge that likes the wrong arm, in seeded runs: each threshold is derived in its docstring."""

import pytest

from bandit.auditing import AuditConfig
from simulator.judge_study import CLOUD, EDGE, JudgeWorld, audited_scores, biased, run_judged

pytestmark = pytest.mark.statistical


def test_the_interval_covers_what_it_should():
    """300 seeds at nominal 95 %: a binomial of sd .0126, so that .925 is two of those below. What
    is covered is the mean of the very answers that were judged, so the interval, which also allows
    for which answers came, is a little too wide."""
    covered = 0
    for seed in range(300):
        tally, truth = audited_scores(AuditConfig(0.25), seed=seed)
        found = tally.quality()
        covered += found.low <= truth <= found.high
    assert covered / 300 >= 0.925


def test_the_right_arm_wins_against_a_judge_that_is_a_tenth_too_kind():
    """The better arm leads by .05, the judge makes it trail by .05. Uncorrected, the worse arm is
    played almost always (the other one is explored with .02 to .1); with a fifth of the scores
    audited the correction's error, .12 / sqrt(100) an arm, is four times below .05."""
    assert _share(correct=False) < 0.5
    assert _share(correct=True) > 0.5


def _share(*, correct):
    run = run_judged(JudgeWorld(rows=1000), biased(rate=0.2), rounds=1000, seed=0, correct=correct)
    assert set(run.truth) == {EDGE, CLOUD}
    return run.right
