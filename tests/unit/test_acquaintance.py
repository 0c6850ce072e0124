"""When a kind of query counts as known."""

import numpy as np

from bandit.policies.acquaintance import Acquaintance
from bandit.primitives import Context


def query(kind):
    return Context({"cluster": np.eye(3, dtype=np.float32)[kind]}, "test")


def test_a_kind_is_new_until_it_has_the_votes_that_are_wanted():
    known = Acquaintance(3)
    for _ in range(5):
        assert known.is_new(query(1), 5)
        known.note(query(1), judged=True)
    assert not known.is_new(query(1), 5)
    assert known.is_new(query(2), 5)


def test_a_kind_that_nobody_judges_is_not_new_for_ever():
    known = Acquaintance(3)
    for _ in range(20):
        assert known.is_new(query(0), 5)
        known.note(query(0), judged=False)
    assert not known.is_new(query(0), 5)


def test_its_state_continues_it():
    known = Acquaintance(3)
    known.note(query(2), judged=True)
    assert not Acquaintance(3, known.state()).is_new(query(2), 1)


def test_without_clusters_all_queries_are_of_one_kind():
    known = Acquaintance(1)
    known.note(Context({}, "test"), judged=True)
    assert not known.is_new(Context({}, "test"), 1)
