"""Objectives in the simulator: a latency objective and a quality floor are kept."""

import numpy as np
import pytest

from simulator.engine import Task, run_task
from simulator.errors import BadStudyError
from simulator.metrics import below_floor
from simulator.pacers import steering_of
from tests import studies


def run(label="composed", **changes):
    made = studies.study(1500, policies=("composed",), **changes)
    return run_task(made, Task(label, 0), made.bank.contexts()).windows["halves"][1]


def test_a_latency_objective_moves_the_95th_percentile():
    free, kept = run(), run(latency_slo_s=1.0)
    assert kept["p95_latency_s"] < free["p95_latency_s"]


def test_a_quality_floor_buys_quality_where_cost_alone_counts():
    from bandit.utility import Scenario

    cheap = Scenario("cheap", 0.0, 1.0, 0.0)
    free, kept = (run(scenario=cheap, quality_floor=floor) for floor in (None, 0.7))
    assert kept["quality"] > free["quality"]
    assert free["below_floor"] is None
    assert kept["below_floor"] is not None


def test_windows_below_a_floor_are_counted():
    quality = np.concatenate([np.zeros(500), np.ones(500)])
    assert below_floor(quality, 0.5) == pytest.approx(250 / 501)
    assert below_floor(quality[:499], 0.5) is None


def test_rivals_are_not_steered():
    made = studies.study(20, budget_usd=1e-3, latency_slo_s=1.0, quality_floor=0.5)
    ours, rival = steering_of(made, "composed"), steering_of(made, "linucb")
    assert None not in (ours.money, ours.latency, ours.quality)
    assert (rival.money, rival.latency, rival.quality) == (None, None, None)


@pytest.mark.parametrize("wrong", [{"latency_slo_s": 0.0}, {"quality_floor": 1.0}])
def test_objectives_out_of_range_are_refused(wrong):
    with pytest.raises(BadStudyError, match=next(iter(wrong)).replace("_", "-")):
        studies.study(20, **wrong)
