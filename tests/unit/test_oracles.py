"""What a vote teaches of which arm, and what of it is kept."""

import numpy as np
import pytest

from bandit.policies.inputs import Layout
from bandit.policies.oracles import Oracles
from bandit.utility import PRESETS

LAYOUT = Layout({"embedding": 6})
EDGE, CLOUD = 0, 1


def queries(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)


def taught(votes=200, *, mirrored=True):
    """Only the cloud is ever judged: well where the first feature is above 0, else badly."""
    oracles = Oracles(LAYOUT)
    for arm in ("edge", "cloud"):
        oracles.blocks.add(arm)
    for x in queries(votes):
        others = (EDGE,) if mirrored else ()
        oracles.learn_quality(x, CLOUD, 0.9 if x[0] > 0.0 else 0.3, others=others)
    return oracles


def lead(oracles, x):
    """How much better the cloud looks than the edge."""
    return oracles.modelled(x, CLOUD) - oracles.modelled(x, EDGE)


def test_a_vote_on_one_arm_says_where_the_other_is_better():
    x = np.array([2.0, 0, 0, 0, 0, 0], dtype=np.float32)
    oracles = taught()
    assert lead(oracles, x) > lead(taught(mirrored=False), x)
    assert lead(oracles, x) > 0.0 > lead(oracles, -x)


def test_between_two_arms_the_mirrored_difference_is_about_one_number_and_its_opposite():
    oracles = taught()
    for x in queries(20, seed=1):
        edge, cloud = oracles._mirrored.predict_blocks(x, 2)
        assert edge == pytest.approx(-cloud, abs=0.01)


def test_what_the_features_add_is_what_is_expected_beyond_the_prior():
    oracles = taught()
    for x in queries(20, seed=2):
        shares = [oracles.contributions(x, block).sum() for block in (EDGE, CLOUD)]
        assert shares[1] - shares[0] == pytest.approx(lead(oracles, x), abs=1e-5)
        assert oracles.heads(x, PRESETS["quality"]).difference[CLOUD] == pytest.approx(
            float((oracles.contributions(x, CLOUD) - oracles._common.contributions(x)).sum()),
            abs=1e-5,
        )


def test_restored_oracles_go_on_learning_to_the_last_bit():
    oracles = taught()
    again = Oracles(LAYOUT, oracles.state(), oracles.dump())
    for x in queries(50, seed=3):
        for one in (oracles, again):
            one.learn_quality(x, EDGE, 0.5, others=(CLOUD,))
        assert again.modelled(x, EDGE) == oracles.modelled(x, EDGE)
        assert again.modelled(x, CLOUD) == oracles.modelled(x, CLOUD)
