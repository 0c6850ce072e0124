"""Agreement with `vw-estimators` and `coba` to 1e-9, where they define the same thing."""

import numpy as np
import pytest
from coba.evaluators import RejectionCB, SequentialCB
from coba.random import CobaRandom
from estimators.bandits import cressieread as vw_cressieread
from estimators.bandits import gaussian as vw_gaussian
from estimators.bandits import ips as vw_ips
from estimators.bandits import snips as vw_snips
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from bandit.intervals import student_quantile
from bandit.ope import cressie_read, ips, replay, snips
from bandit.sample import Sample

TOLERANCE = 1e-9


def logs():
    """Rows of many kinds: tiny and huge propensities, targets that never agree, graded rewards."""
    rng = np.random.default_rng(11)
    for n in (3, 10, 57, 400, 3000):
        for target in ((0.0, 1.0), (0.3, 0.7), (0.0, 0.05, 1.0)):
            for reward in (rng.random(n), (rng.random(n) < 0.8) * 1.0, rng.random(n) ** 6):
                propensity = rng.choice([0.02, 0.1, 0.5, 0.9, 0.98], n)
                drawn = rng.choice(target, n)
                drawn[0] = max(target)
                yield Sample(reward, propensity, drawn)


def peer(estimator, sample):
    for p, r, pi in zip(sample.propensity, sample.reward, sample.target, strict=True):
        estimator.add_example(float(p), float(r), float(pi))
    return estimator.get()


def test_ips_is_that_of_vw_estimators():
    for sample in logs():
        assert ips(sample).value == pytest.approx(peer(vw_ips.Estimator(), sample), abs=TOLERANCE)


def test_snips_is_that_of_vw_estimators():
    for sample in logs():
        wanted = peer(vw_snips.Estimator(), sample)
        assert snips(sample).value == pytest.approx(wanted, abs=TOLERANCE)


def test_the_gaussian_interval_is_that_of_vw_estimators():
    for sample in logs():
        found = ips(sample, kind="gaussian")
        wanted = peer(vw_gaussian.Interval(), sample)
        assert [found.low, found.high] == pytest.approx(wanted, abs=TOLERANCE)


@pytest.mark.parametrize("w_max", [np.inf, 50.0, 200.0])
def test_the_cressie_read_point_is_that_of_vw_estimators(w_max):
    for sample in logs():
        wanted = peer(vw_cressieread.Estimator(wmax=w_max), sample)
        assert cressie_read(sample, w_max=w_max).value == pytest.approx(wanted, abs=TOLERANCE)


@pytest.mark.parametrize("w_max", [np.inf, 50.0, 200.0])
def test_the_cressie_read_interval_is_that_of_vw_estimators(w_max):
    for sample in logs():
        found = cressie_read(sample, w_max=w_max)
        wanted = peer(vw_cressieread.Interval(wmax=w_max), sample)
        assert [found.low, found.high] == pytest.approx(wanted, abs=TOLERANCE)


def test_students_quantile_is_that_of_scipy():
    for df in (1, 2, 3, 7, 30.5, 400, 1e5):
        for alpha in (0.2, 0.05, 0.001):
            wanted = t_distribution.isf(alpha / 2, df)
            assert float(student_quantile(alpha, df)) == pytest.approx(wanted, rel=TOLERANCE)
            assert wanted**2 == pytest.approx(f_distribution.isf(alpha, 1, df), rel=TOLERANCE)


class CobaLog:
    """A log in coba's form; the context is the row's number."""

    def __init__(self, sample):
        self.sample = sample
        self.params = {}

    def read(self):
        rows = zip(self.sample.reward, self.sample.propensity, strict=True)
        for i, (reward, propensity) in enumerate(rows):
            yield {
                "context": i,
                "actions": ["edge", "cloud"],
                "action": "edge",
                "reward": float(reward),
                "probability": float(propensity),
            }


class CobaTarget:
    """The target policy in coba's form."""

    def __init__(self, sample):
        self.sample = sample
        self.params = {}

    def score(self, context, actions, action):
        return float(self.sample.target[context])

    def predict(self, context, actions):
        p = float(self.sample.target[context])
        return [p, 1 - p]

    def learn(self, context, action, reward, probability):
        """Learns nothing."""


def test_ips_is_that_of_coba():
    for sample in list(logs())[:30]:
        judge = SequentialCB(record=["reward"], learn=None, eval="ips")
        rewards = [row["reward"] for row in judge.evaluate(CobaLog(sample), CobaTarget(sample))]
        assert ips(sample).value == pytest.approx(np.mean(rewards), abs=TOLERANCE)


class Uniforms:
    """coba's random numbers where a numpy generator is asked."""

    def __init__(self, seed):
        self._random = CobaRandom(seed)

    def random(self, n):
        return np.array([self._random.random() for _ in range(n)])


def test_rejection_sampling_keeps_the_rows_that_coba_keeps():
    """With coba's multiplier held at 1 / M (no row exceeds it) and its own random numbers."""
    for sample in list(logs())[18:]:
        w_max = 50.0
        judge = RejectionCB(["reward"], cpct=0, cmax=1 / w_max, cinit=1 / w_max, seed=7)
        kept = [row["reward"] for row in judge.evaluate(CobaLog(sample), CobaTarget(sample))]
        found = replay(sample, Uniforms(7), w_max=w_max)
        assert found.n == len(kept)
        if kept:
            assert found.value == pytest.approx(np.mean(kept), abs=TOLERANCE)
