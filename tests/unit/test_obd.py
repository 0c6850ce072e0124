"""Two policies' logs value each other; made-up rows of the Open Bandit Dataset's shape."""

import csv

import numpy as np
import pytest

from simulator.errors import BadTableError
from simulator.obd import BanditLog, compare, compare_logs, item_frequencies

N_ITEMS, N = 6, 4000
APPEAL = np.array([0.05, 0.1, 0.2, 0.3, 0.1, 0.05])


def logs(seed=0):
    """A uniform policy and one that favours item 3; clicks depend on the item alone."""
    rng = np.random.default_rng(seed)
    favours = np.array([0.05, 0.1, 0.2, 0.5, 0.1, 0.05])
    made = []
    for pmf in (np.full(N_ITEMS, 1 / N_ITEMS), favours):
        item = rng.choice(N_ITEMS, N, p=pmf)
        click = (rng.random(N) < APPEAL[item]) * 1.0
        made.append(BanditLog(item, rng.integers(1, 4, N), click, pmf[item]))
    return made


def test_each_policy_is_worth_what_its_own_log_says():
    """Off-policy intervals hold the truth; within 4 standard errors, read off the interval."""
    found = compare_logs(*logs())
    truths = {"random": APPEAL.mean(), "bts": float(APPEAL @ [0.05, 0.1, 0.2, 0.5, 0.1, 0.05])}
    for policy, truth in truths.items():
        assert [e["method"] for e in found[policy]["off_policy"]] == [
            "ips",
            "snips",
            "cressie_read",
        ]
        for estimate in (found[policy]["on_policy"], *found[policy]["off_policy"]):
            assert abs(estimate["value"] - truth) < (estimate["high"] - estimate["low"]) / 3.92 * 4


def test_frequencies_are_those_of_each_position():
    log = BanditLog(np.array([0, 0, 1, 2]), np.array([1, 1, 1, 2]), np.zeros(4), np.full(4, 1 / 3))
    found = item_frequencies(log, 3, 3)
    np.testing.assert_allclose(found, [[0, 0, 0], [2 / 3, 1 / 3, 0], [0, 0, 1]])


def write(path, names, made):
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(names)
        for policy, log in zip(("random", "bts"), made, strict=True):
            for row in zip(log.item, log.position, log.click, log.propensity, strict=True):
                out.writerow([policy, *(value.item() for value in row)])


def test_a_file_is_read_as_the_arrays_are(tmp_path):
    made = logs()
    path = tmp_path / "log.csv"
    write(path, ["policy", "item_id", "position", "click", "propensity_score"], made)
    assert compare(path) == compare_logs(*made)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "log.csv"
    write(path, ["policy", "item_id", "position", "clicks", "propensity_score"], logs())
    with pytest.raises(BadTableError, match="no column 'click'; did you mean 'clicks'"):
        compare(path)


def test_a_missing_policy_is_named(tmp_path):
    path = tmp_path / "log.csv"
    write(path, ["policy", "item_id", "position", "click", "propensity_score"], logs()[:1] * 2)
    text = path.read_text().replace("bts,", "random,")
    path.write_text(text)
    with pytest.raises(BadTableError, match="no row of 'bts'"):
        compare(path)
