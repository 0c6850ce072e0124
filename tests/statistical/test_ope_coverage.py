"""Nominal 95 % intervals cover the truth in 93 to 97 % of logs.

Every cell draws 2,000 logs. If an interval covers with probability .95, the share among 2,000 has
standard deviation √(.95 · .05 / 2000) = .0049, so [.93, .97] is 4.1 of them on either side: a right
interval fails a cell with probability 4e-5, one of all 54 cells with .2 %. A wrong one that covers
91 or 99 % passes with about .1 %.
"""

import numpy as np
import pytest

from bandit.cressie_read import cressie_read_interval
from bandit.influence import INFLUENCES, bounds
from bandit.sample import Sample
from tests.worlds import BALANCED, GOOD, GRADED, RARE

pytestmark = pytest.mark.statistical

N_LOGS = 2000
BATCH = 200
WORLDS = {"balanced": BALANCED, "good": GOOD, "graded": GRADED}


def coverage(world, *, n, floor, seed=11):
    """Share of logs whose interval holds the truth, by method."""
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(("ips", "snips", "dr", "cressie_read"), 0)
    for _ in range(N_LOGS // BATCH):
        logs = world.logs(rng, n_logs=BATCH, n=n, floor=floor)
        ends = {m: bounds(INFLUENCES[m](logs), logs) for m in ("ips", "snips", "dr")}
        ends["cressie_read"] = cressie_read_interval(logs.weight, logs.reward, w_max=1 / floor)
        for method, (low, high) in ends.items():
            hits[method] += int(((low <= world.value) & (world.value <= high)).sum())
    return {method: count / N_LOGS for method, count in hits.items()}


@pytest.mark.parametrize("n", [2000, 10_000])
@pytest.mark.parametrize("floor", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("world", WORLDS)
def test_intervals_cover_what_they_say(world, floor, n):
    """IPS, SNIPS and DR in every cell; Cressie-Read covers no less, and more where rows are few.

    Its made-up extreme row weighs as much as a real one: at a floor of .02 and 2,000 rows only 20
    rows of weight 50 carry half of the estimate, and 97 to 98 % are covered (seen: .961, .972 and
    .981). Elsewhere it is held to the same band, but for half a point above.
    """
    seen = coverage(WORLDS[world], n=n, floor=floor)
    for method in ("ips", "snips", "dr"):
        assert 0.93 <= seen[method] <= 0.97, (method, seen)
    few = floor * n < 100
    assert 0.94 <= seen["cressie_read"] <= (0.99 if few else 0.975), seen


def test_where_successes_are_rare_and_rows_few_only_cressie_read_keeps_its_word():
    """Two expected successes of weight 50: no spread to measure, hence the warning about few rows.

    Seen: IPS, SNIPS and DR .86 to .87, Cressie-Read .99.
    """
    seen = coverage(RARE, n=2000, floor=0.02)
    assert max(seen["ips"], seen["snips"], seen["dr"]) < 0.92
    assert seen["cressie_read"] >= 0.95


def test_sessions_are_covered_too():
    """200 sessions of 10 queries that share arm and reward: blind intervals cover far too little.

    Logs are made session by session, so that whole sessions are the independent draws.
    """
    rng = np.random.default_rng(5)
    session = np.repeat(np.arange(200), 10)
    blind = aware = 0
    for _ in range(N_LOGS // BATCH):
        heads = GRADED.logs(rng, n_logs=BATCH, n=200, floor=0.2)
        rows = [np.repeat(column, 10, axis=1) for column in (heads.reward, heads.propensity)]
        logs = Sample(*rows, np.repeat(heads.target, 10, axis=1))
        grouped = Sample(logs.reward, logs.propensity, logs.target, session=session)
        influence = INFLUENCES["snips"](logs)
        for sample in (logs, grouped):
            low, high = bounds(influence, sample)
            hits = int(((low <= GRADED.value) & (GRADED.value <= high)).sum())
            blind, aware = (blind, aware + hits) if sample is grouped else (blind + hits, aware)
    assert blind / N_LOGS < 0.6
    assert 0.93 <= aware / N_LOGS <= 0.97


def test_cressie_read_is_as_sharp_as_planned():
    """Mean half-widths over 200 logs: at most .03 for 10,000 rows with a floor of .05 when answers
    are mostly right, and at most a fifth wider than those of self-normalised estimates."""
    logs = GOOD.logs(np.random.default_rng(2), n_logs=200, n=10_000, floor=0.05)
    low, high = cressie_read_interval(logs.weight, logs.reward, w_max=20.0)
    plain_low, plain_high = bounds(INFLUENCES["snips"](logs), logs)
    assert (high - low).mean() / 2 <= 0.03
    assert (high - low).mean() <= 1.2 * (plain_high - plain_low).mean()


def test_snips_is_within_a_hundredth_at_ten_thousand_rows():
    """Root mean square error over 500 logs at a floor of .1; its standard error is 3 % of it."""
    logs = GOOD.logs(np.random.default_rng(2), n_logs=500, n=10_000, floor=0.1)
    error = INFLUENCES["snips"](logs).value - GOOD.value
    assert np.sqrt((error**2).mean()) <= 0.01


def test_snips_is_sharper_than_ips():
    logs = GOOD.logs(np.random.default_rng(4), n_logs=500, n=2000, floor=0.05)
    rmse = [
        np.sqrt(((INFLUENCES[m](logs).value - GOOD.value) ** 2).mean()) for m in ("snips", "ips")
    ]
    assert rmse[0] < 0.7 * rmse[1]
