"""One log, scored by scenarios that did not exist when it was written."""

from dataclasses import replace

import pytest

from bandit.utility import PRESETS, BadScenarioError, Scenario
from simulator.candidates import always, as_logged, parse_candidate
from simulator.composite import composites
from simulator.errors import BadStudyError
from simulator.rescoring import ScenarioWish
from tests.unit.test_evaluate import LOG

NEW = Scenario("new", 0.5, 0.3, 0.2, mes=0.9, cost_ceiling_usd=0.02, latency_ceiling_s=4.0)


def one(candidate, scenario=NEW, records=LOG):
    (found,) = composites(records, candidate, [scenario])
    return found


def test_the_log_is_what_it_was_under_any_scenario():
    # Edge right in .9 and .3 of the halves, cloud in .8; drawn .8 and .2. Five standard errors.
    found = one(as_logged())
    assert found.solved == pytest.approx(0.79, abs=0.05)
    assert found.at_edge == pytest.approx(0.5, abs=0.05)
    assert found.saved == pytest.approx(0.5, abs=0.06)
    assert found.latency_s == pytest.approx(1.1, abs=0.12)
    # Nothing above .9 counts more: half of 1 - .01 / .02, and of 1 - 2 / 4.
    expected = 0.5 * 0.79 + 0.3 * (1 - 0.5 * 0.5) + 0.2 * (1 - (0.5 * 0.05 + 0.5 * 0.5))
    assert found.reward == pytest.approx(expected, abs=0.04)


def test_the_score_combines_its_parts_by_the_scenarios_weights():
    found = one(as_logged())
    slow = (found.latency_s - 0.2) / 1.8
    expected = 0.5 * found.solved + 0.3 * found.at_edge + 0.2 * (1 - slow)
    assert found.rcs == pytest.approx(expected)
    assert found.rcs_low < found.rcs < found.rcs_high


@pytest.mark.parametrize(
    ("arm", "solved", "at_edge", "saved"), [("edge", 0.6, 1.0, 1.0), ("cloud", 0.8, 0.0, 0.0)]
)
def test_one_arm_alone_is_at_an_end_of_every_scale(arm, solved, at_edge, saved):
    found = one(always(arm))
    assert found.solved == pytest.approx(solved, abs=0.06)
    assert (found.at_edge, found.saved) == (at_edge, pytest.approx(saved))
    expected = 0.5 * found.solved + 0.3 * at_edge + 0.2 * at_edge
    assert found.rcs == pytest.approx(expected)


def test_without_a_judged_answer_nothing_is_said():
    found = one(as_logged(), records=[replace(LOG[0], quality=None)])
    assert (found.n, found.rcs, found.solved) == (0, None, None)


def test_sessions_widen_the_bounds():
    wide = [
        replace(
            record,
            logged=replace(
                record.logged,
                decision=replace(record.logged.decision, tags={"session_id": f"s{i // 100}"}),
            ),
            quality=float(i // 100 % 2),
        )
        for i, record in enumerate(LOG)
    ]
    narrow = [
        replace(r, logged=replace(r.logged, decision=replace(r.logged.decision, tags={})))
        for r in wide
    ]
    found = [one(as_logged(), records=records) for records in (wide, narrow)]
    spans = [each.rcs_high - each.rcs_low for each in found]
    assert spans[0] > 2 * spans[1]


def test_weights_and_an_mes_make_a_scenario_of_the_default():
    found = ScenarioWish(weights="0.2,0.3,0.5", mes=0.6).choose(PRESETS, "speed")
    speed = PRESETS["speed"]
    assert (found.w_quality, found.w_cost, found.w_latency, found.mes) == (0.2, 0.3, 0.5, 0.6)
    assert found.latency_ceiling_s == speed.latency_ceiling_s


def test_nothing_asked_for_is_no_scenario():
    assert ScenarioWish().choose(PRESETS, "speed") is None
    assert ScenarioWish("economy").choose(PRESETS, "speed") is PRESETS["economy"]


def test_a_file_brings_scenarios(tmp_path):
    path = tmp_path / "more.yaml"
    path.write_text("scenarios:\n  frugal: {w_quality: 0.5, w_cost: 0.5, w_latency: 0, mes: 0.7}\n")
    known = ScenarioWish(file=path).known(PRESETS)
    assert known["frugal"] == Scenario("frugal", 0.5, 0.5, 0.0, mes=0.7)
    assert known.keys() > PRESETS.keys()
    assert parse_candidate("scenario:frugal", scenarios=known).scenario is known["frugal"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bad: {w_quality: 1, w_cost: 1, w_latency: 0}", "bad: .*sum to 1"),
        ("bad: {w_quality: 1}", "bad.w_cost"),
        ("bad: 5", "bad"),
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path, text, words):
    path = tmp_path / "more.yaml"
    path.write_text(text)
    with pytest.raises(BadStudyError, match=words):
        ScenarioWish(file=path).known(PRESETS)


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (ScenarioWish("fast"), BadStudyError),
        (ScenarioWish(weights="1,1"), BadStudyError),
        (ScenarioWish(weights="1,1,1"), BadScenarioError),
        (ScenarioWish(mes=1.5), BadScenarioError),
    ],
)
def test_numbers_that_make_no_scenario_are_refused(wish, error):
    with pytest.raises(error):
        wish.choose(PRESETS, "balanced")
