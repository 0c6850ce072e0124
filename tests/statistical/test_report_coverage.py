"""The report's intervals hold the truth in about 95 % of logs whose answers come in sessions.

Each of 300 logs has 50 sessions of 4 decisions that share a kind of query and their luck. A right
95 % interval covers in a share with standard deviation √(.95 · .05 / 300) = .0126; with 50 sessions
an honest one may lose a point. [.91, .985] is 2.4 of them around .94 and .95; the seed is fixed.
"""

import numpy as np
import pytest

from simulator.clustering import Tally, clusters, ratio
from simulator.counterfactual import pool_of
from simulator.earning import earning_of
from simulator.ledger import ledger_of
from tests.ledgers import made_log, truth

pytestmark = pytest.mark.statistical

N_LOGS, SESSIONS = 300, 50
TRUTH = truth()
FIGURES = ("quality", "cost_usd", "always_cloud", "always_edge", "saved", "gap", "aiq")


def figures_of(ledger):
    found = earning_of(pool_of(ledger.drawn()), ["cloud", "edge"])
    by_arm = {model.arm: model for model in found.singles}
    return {
        "quality": found.served.quality,
        "cost_usd": found.served.cost_usd,
        "always_cloud": by_arm["cloud"].point.quality,
        "always_edge": by_arm["edge"].point.quality,
        "saved": by_arm["cloud"].saved,
        "gap": found.gap,
        "aiq": found.aiq_gap,
    }


@pytest.fixture(scope="module")
def reports():
    """Figures of every log, and the same mean quality as if answers were independent."""
    made = []
    for seed in range(N_LOGS):
        ledger = ledger_of(made_log(np.random.default_rng(seed), SESSIONS, judged=(0.5, 0.9)))
        judged = np.array(
            [e.record.quality for e in ledger.entries if e.record.quality is not None]
        )
        blind = Tally(clusters([str(i) for i in range(len(judged))]))
        cut = blind.add(np.stack([judged, np.ones(len(judged))], axis=1))
        made.append((figures_of(ledger), blind.interval(ratio(cut.start, cut.start + 1))))
    return made


@pytest.mark.parametrize("name", FIGURES)
def test_intervals_cover_what_they_say(reports, name):
    hits = [f[name].low <= TRUTH[name] <= f[name].high for f, _ in reports]
    assert 0.91 <= np.mean(hits) <= 0.985


@pytest.mark.parametrize("name", ["gap", "aiq"])
def test_the_gain_over_the_hull_is_not_overstated(reports, name):
    """Points lean to the hull's side: at most two standard errors above the truth."""
    values = np.array([f[name].value for f, _ in reports])
    assert values.mean() - TRUTH[name] <= 2 * values.std() / np.sqrt(N_LOGS)
    assert values.mean() >= 0.85 * TRUTH[name]


def test_taken_one_by_one_answers_promise_too_much(reports):
    """The judged mean (biased by who is judged, so centred on its own mean) blind to sessions."""
    centre = np.mean([blind.value for _, blind in reports])
    assert np.mean([b.low <= centre <= b.high for _, b in reports]) < 0.9
