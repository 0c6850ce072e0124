"""Drift: what a file may say, and what each event does to the world."""

import numpy as np
import pytest

from simulator.drift import NO_DRIFT, library, load_plan, parse_plan
from simulator.environment import World
from simulator.errors import BadDriftError
from tests import studies


def world(*events, n=200, models=("edge", "cloud"), n_arms=2, rounds=200, order="table"):
    plan = parse_plan({"events": list(events)}, source="here", rounds=rounds)
    made = studies.table(n, models)
    return World(made, plan, n_arms=n_arms, rounds=rounds, seed=0, order=order)


def block(*events, **options):
    return next(world(*events, **options).blocks())


@pytest.mark.parametrize("name", library())
def test_every_shipped_scenario_runs(name):
    plan = load_plan(name, None, 400)
    made = World(studies.table(), plan, n_arms=2, rounds=plan.rounds, seed=0)
    assert sum(len(part) for part in made.blocks()) == plan.rounds
    assert plan.description


def test_the_three_phase_protocol_has_three_phases_of_608():
    plan = load_plan("three-phase", None)
    assert [(p.start, p.end) for p in plan.phases] == [(0, 608), (608, 1216), (1216, 1824)]


def test_without_a_plan_the_world_is_the_table():
    made = studies.table()
    calm = next(World(made, NO_DRIFT, n_arms=2, rounds=200, seed=0, order="table").blocks())
    np.testing.assert_array_equal(calm.quality, made.quality)
    assert calm.eligible.all()
    assert not calm.failing.any()


def test_a_quality_drop_is_silent_and_ends():
    changed = block({"kind": "quality", "arm": "cloud", "by": -0.2, "start": 50, "end": 100})
    calm = block()
    moved = changed.quality[:, 1] - calm.quality[:, 1]
    np.testing.assert_allclose(moved[50:100], np.maximum(-0.2, -calm.quality[50:100, 1]))
    assert (moved[:50] == 0).all()
    assert (moved[100:] == 0).all()
    assert (changed.digest == 0).all()
    np.testing.assert_array_equal(changed.quality[:, 0], calm.quality[:, 0])


def test_a_quality_target_shifts_the_mean():
    changed = block({"kind": "quality", "arm": "cloud", "to": 0.4})
    assert changed.quality[:, 1].mean() == pytest.approx(0.4, abs=0.02)


def test_a_gradual_change_climbs():
    changed = block({"kind": "price", "arm": "cloud", "times": 3.0, "shape": "gradual",
                     "start": 0, "ramp": 100})  # fmt: skip
    factor = changed.price_in[:, 1] / block().price_in[:, 1]
    np.testing.assert_allclose(factor[[0, 50, 100, 199]], [1.0, 2.0, 3.0, 3.0])
    np.testing.assert_allclose(changed.cost_usd[:, 1] / block().cost_usd[:, 1], factor)


def test_a_recurring_change_comes_and_goes():
    changed = block({"kind": "latency", "arm": "edge", "add_s": 5.0, "shape": "recurring",
                     "start": 0, "period": 40})  # fmt: skip
    extra = changed.latency_s[:, 0] - block().latency_s[:, 0]
    np.testing.assert_allclose(extra[[0, 19, 20, 39, 40]], [5, 5, 0, 0, 5])


@pytest.mark.parametrize("announced", [True, False])
def test_a_swap_takes_the_other_models_column_and_says_so_only_if_announced(announced):
    swap = {"kind": "swap", "arm": "cloud", "with": "third", "announced": announced, "start": 100}
    models = ("edge", "cloud", "third")
    changed = block(swap, models=models)
    made = studies.table(200, models)
    np.testing.assert_array_equal(changed.quality[100:, 1], made.quality[100:, 2])
    np.testing.assert_array_equal(changed.quality[:100, 1], made.quality[:100, 1])
    assert (changed.digest[100:, 1] == int(announced)).all()
    new_price = made.price_in[2] if announced else made.price_in[1]
    np.testing.assert_allclose(changed.price_in[100:, 1], new_price)


def test_an_outage_fails_calls_at_its_rate():
    changed = block({"kind": "outage", "arm": "cloud", "rate": 0.5, "start": 0, "end": 100})
    # 100 calls at 0.5: four standard deviations are 20.
    assert 30 <= changed.failing[:100, 1].sum() <= 70
    assert not changed.failing[100:].any()
    assert not changed.failing[:, 0].any()


def test_arms_arrive_and_retire():
    arrived = block({"kind": "arrive", "arm": "cloud", "start": 60})
    assert not arrived.eligible[:60, 1].any()
    assert arrived.eligible[60:, 1].all()
    retired = block({"kind": "retire", "arm": "edge", "start": 60, "end": 80})
    assert not retired.eligible[60:80, 0].any()
    assert retired.eligible[80:, 0].all()


def test_a_mix_shift_asks_only_its_domains():
    shifted = block({"kind": "mix", "domains": ["high"], "start": 100})
    made = studies.table()
    assert (made.domain[shifted.rows[100:]] == 1).all()
    np.testing.assert_array_equal(shifted.rows[:100], np.arange(100))


def test_judges_feedback_and_poison_change_votes_not_truth():
    changed = block(
        {"kind": "judge", "arm": "edge", "by": 0.1},
        {"kind": "silence", "start": 50, "end": 60},
        {"kind": "poison", "arm": "cloud", "share": 1.0, "value": 0.0, "start": 150},
    )
    assert (changed.judge_bias[:, 0] == 0.1).all()
    assert changed.silent.sum() == 10
    assert (changed.poison[150:, 1] == 0.0).all()
    assert np.isnan(changed.poison[:150]).all()
    np.testing.assert_array_equal(changed.quality, block().quality)


def test_blocks_and_seeds_make_the_same_world_every_time():
    events = [{"kind": "outage", "arm": "cloud", "rate": 0.3}]
    one = list(world(*events, rounds=5000, order="shuffle").blocks())
    two = list(world(*events, rounds=5000, order="shuffle").blocks())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.failing, b.failing)


def test_shuffled_rows_are_all_asked_before_any_is_asked_again():
    order = world(rounds=400, order="shuffle").survey().order
    assert sorted(order[:200]) == list(range(200))
    assert sorted(order[200:]) == list(range(200))
    assert (order[:200] != order[200:]).any()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "want a mapping"),
        ({"evens": []}, "evens: no such field"),
        ({"events": [{"kind": "qualty"}]}, "did you mean 'quality'?"),
        ({"events": [{"kind": "quality"}]}, "events[0].arm: quality needs it"),
        ({"events": [{"kind": "quality", "arm": "edge", "bye": 1}]}, "did you mean 'by'?"),
        ({"events": [{"kind": "quality", "arm": "edge", "by": "x"}]}, "want a number"),
        ({"events": [{"kind": "quality", "arm": "edge", "by": -7}]}, "want a number in [-1, 1]"),
        ({"events": [{"kind": "retire", "arm": "edge", "start": 5, "end": 5}]}, "before it starts"),
        ({"events": [{"kind": "retire", "arm": "edge", "start": "soon"}]}, "want a round"),
        (
            {"events": [{"kind": "retire", "arm": "edge", "shape": "recurring"}]},
            "want at least 2 rounds",
        ),
        ({"phases": [{"name": "a"}]}, "want name, start and end"),
        ({"rounds": -3}, "want a whole number above 0"),
    ],
)
def test_a_bad_plan_names_the_field(document, expected):
    with pytest.raises(BadDriftError) as caught:
        parse_plan(document, source="plan.yaml", rounds=None)
    assert expected in str(caught.value)


def test_percentages_need_a_length():
    with pytest.raises(BadDriftError, match="say --rounds"):
        load_plan("silent-drop", None)
    assert load_plan("silent-drop", 100).events[0].start == 50


def test_an_unknown_arm_domain_or_scenario_names_the_nearest():
    with pytest.raises(BadDriftError, match="did you mean 'cloud'"):
        world({"kind": "retire", "arm": "clod"})
    with pytest.raises(BadDriftError, match="did you mean 'high'"):
        world({"kind": "mix", "domains": ["hihg"]})
    with pytest.raises(BadDriftError, match="did you mean 'three-phase'"):
        load_plan("three-fase", 10)


def test_a_file_that_is_not_yaml_is_refused(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("events: [")
    with pytest.raises(BadDriftError, match="not YAML"):
        load_plan(str(path), 10)
