"""The sweep over minimal expectation scores."""

import pytest

from bandit.utility import Scenario
from simulator.cli_mes import _scores
from simulator.errors import BadStudyError
from simulator.mes_sweep import Expectation, Spread, draw, largest_rise, sweep
from tests.studies import study

FREE_ENOUGH = Scenario("s", 0.9, 0.1, 0.0, cost_ceiling_usd=0.001)
PNG = b"\x89PNG"


def expectation(mes, share):
    one = Spread(share, share, share)
    return Expectation(mes, one, one, one, one, one)


def test_who_expects_more_leaves_less_to_the_edge():
    made = study(600, policies=("composed",), scenario=FREE_ENOUGH, seeds=(0, 1))
    easy, hard, none = sweep(made, [0.3, 0.8, None], workers=1)
    # At .3 every arm will do and the edge is cheaper; at .8 half of the prompts want the cloud.
    assert easy.edge_share.mean > 0.85
    assert hard.edge_share.mean < 0.75
    assert easy.solved.mean > hard.solved.mean
    assert (easy.mes, none.mes) == (0.3, None)
    assert hard.edge_share.low <= hard.edge_share.mean <= hard.edge_share.high


def test_a_rise_of_the_edges_share_is_told():
    falls = [expectation(m, share) for m, share in ((0.1, 0.9), (0.5, 0.6), (0.9, 0.1))]
    assert largest_rise(falls) == 0.0
    assert largest_rise([*falls, expectation(1.0, 0.15)]) == pytest.approx(0.05)
    assert largest_rise(falls[:1]) == 0.0


def test_it_is_drawn():
    found = [expectation(m, 1.0 - m) for m in (0.2, 0.6, 1.0)]
    svg = draw([*found, expectation(None, 0.0)], "title", "svg").decode()
    assert svg.startswith("<svg")
    assert "share at the edge" in svg
    assert draw(found, "title", "png").startswith(PNG)


@pytest.mark.parametrize("text", ["", "a", "0,0.5", "0.5,1.2", "0.8,0.5", "nan"])
def test_values_that_are_no_scores_are_refused(text):
    with pytest.raises(BadStudyError, match="--values"):
        _scores(text)
