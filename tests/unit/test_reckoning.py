"""The figures of a report, from made logs whose truth is known."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from bandit.alarm import Alarm
from bandit.primitives import Gating, Prediction
from bandit.utility import Scenario
from feedback.alarms import LoggedAlarm
from simulator.cli_report import facts, tables
from simulator.earning import area, corners, hull_area, hull_at
from simulator.ledger import Wanted, ledger_of, parse_tags
from simulator.reckoning import reckon
from simulator.report_page import render
from tests.ledgers import made_log, truth
from tests.makers import ARMS, NOW, logged, outcome, vote


def events(n=150, seed=0, **options):
    return made_log(np.random.default_rng(seed), n, **options)


EVENTS = events()
FOUND = reckon(ledger_of(EVENTS))


def holds(interval, value):
    """Within twice the interval's reach: four standard errors."""
    reach = max(interval["high"] - interval["value"], interval["value"] - interval["low"])
    return abs(interval["value"] - value) <= 2 * reach


def changed(event, *, decision=None, outcome=None, **more):
    """The event with parts of its decision and outcome replaced."""
    inner = replace(event.logged.decision, **(decision or {}))
    seen = None if event.outcome is None else replace(event.outcome, **(outcome or {}))
    return replace(event, logged=replace(event.logged, decision=inner), outcome=seen, **more)


def test_every_figure_holds_the_truth():
    expected, compared = truth(), FOUND["compared"]
    cloud, edge = compared["single_models"]
    assert (cloud["arm"], edge["arm"]) == ("cloud", "edge")
    assert holds(compared["served"]["quality"], expected["quality"])
    assert holds(compared["served"]["cost_usd"], expected["cost_usd"])
    assert holds(cloud["quality"], expected["always_cloud"])
    assert holds(edge["quality"], expected["always_edge"])
    assert holds(compared["saved_usd"], expected["saved"] * compared["decisions"])
    assert holds(compared["kept_at_edge"]["queries"], expected["kept"])
    assert holds(compared["kept_at_edge"]["dollars"], expected["kept"])
    assert holds(compared["hull"]["served_above"], expected["gap"])
    assert holds(compared["aiq"]["above"], expected["aiq"])
    assert compared["hull"]["corners"] == ["edge", "cloud"]


def test_a_router_that_ranks_well_earns_its_keep_and_is_told_what_it_saved():
    assert FOUND["verdict"]["earns"] is True
    assert "earns its keep" in FOUND["verdict"]["text"]
    assert "always cloud it saved $" in FOUND["verdict"]["text"]


def test_a_router_that_ranks_the_wrong_way_round_does_not():
    wrong = reckon(ledger_of(events(believed=((0.3, 0.75), (0.55, 0.85), (0.80, 0.82)))))
    assert wrong["verdict"]["earns"] is False
    assert "does not earn its keep yet" in wrong["verdict"]["text"]
    assert wrong["compared"]["aiq"]["above"]["value"] < 0.0


def test_a_router_that_ranks_well_and_serves_badly_is_told_so():
    """It believes the truth and draws the other way round."""
    found = reckon(ledger_of(events(300, p_edge=(0.1, 0.5, 0.9))))
    assert found["compared"]["aiq"]["above"]["low"] > 0.0
    assert found["verdict"]["earns"] is False
    assert "below the mix of single models" in found["verdict"]["text"]


def test_quality_is_not_moved_by_judging_one_arm_more_than_the_other():
    """Nine in ten of the cloud's answers are judged, one in five of the edge's."""
    skewed = reckon(ledger_of(events(400, judged=(0.2, 0.9))))
    assert holds(skewed["compared"]["served"]["quality"], truth()["quality"])
    assert holds(skewed["compared"]["hull"]["served_above"], truth()["gap"])
    raw = skewed["served"]["quality"]
    assert raw["low"] > truth()["quality"]


def test_forced_and_failed_decisions_are_counted_and_not_compared():
    forced = changed(EVENTS[0], decision={"reason": "pin", "propensity": 1.0})
    failed = changed(EVENTS[1], outcome={"failure": "timeout"})
    diverted = changed(EVENTS[2], outcome={"arm": "elsewhere"})
    silent = replace(EVENTS[3], outcome=None, outcome_position=None)
    found = reckon(ledger_of([forced, failed, diverted, silent, *EVENTS[4:]]))
    counts = found["decisions"]
    assert counts["forced"] == {"pin": 1}
    assert (counts["failed"], counts["diverted"]) == (2, 1)
    assert counts["compared"] == counts["all"] - 4
    assert found["forced"]["decisions"] == 1
    assert found["served"]["decisions"] == counts["all"]
    assert any("forced, and so in the totals only: 1 pin" in line for line in facts(found))


def test_decisions_are_chosen_by_scenario_and_tag():
    quick = Scenario("quick", 0.5, 0.1, 0.4)
    mixed = [changed(e, decision={"scenario": quick}) if i % 2 else e for i, e in enumerate(EVENTS)]
    tagged = events(20, tags={"app": "demo"})
    assert reckon(ledger_of(mixed, Wanted("quick")))["decisions"]["all"] == len(EVENTS) // 2
    assert [row["scenario"] for row in reckon(ledger_of(mixed))["scenarios"]] == [
        "balanced",
        "quick",
    ]
    assert len(ledger_of([*EVENTS, *tagged], Wanted(tags=parse_tags(["app=demo"]))).entries) == 80


def test_each_scenario_says_problems_solved_share_kept_speed_and_rcs():
    (row,) = FOUND["scenarios"]
    solved, kept = row["problem_solving"]["value"], row["cost_advantage"]["queries"]["value"]
    alone = {m["arm"]: m["latency_s"]["value"] for m in FOUND["compared"]["single_models"]}
    slow = (row["latency_s"]["value"] - alone["edge"]) / (alone["cloud"] - alone["edge"])
    assert row["rcs"]["value"] == pytest.approx(0.7 * solved + 0.2 * kept + 0.1 * (1 - slow))
    strict = Scenario("balanced", 0.7, 0.2, 0.1, mes=0.9)
    harder = reckon(ledger_of(changed(e, decision={"scenario": strict}) for e in EVENTS))
    assert harder["scenarios"][0]["problem_solving"]["high"] < row["problem_solving"]["low"]


def test_who_judged_is_said_and_withdrawn_votes_are_not_counted():
    first = EVENTS[0]
    name = first.logged.decision.decision_id
    up, gone = vote(name, 1, source="ann"), vote(name, None, source="grader", metric="judge")
    score = vote(name, 0.5, source="grader", metric="judge")
    found = reckon(ledger_of([replace(first, feedback=((1, score), (2, up), (3, gone)))]))
    assert found["judged"]["by"] == [{"metric": "thumbs", "source": "ann", "votes": 1, "mean": 1.0}]


def test_a_cascade_is_no_single_model_and_its_parts_are_seen_through_it():
    prediction = Prediction(("edge", "cloud", "both"), (0.25, 0.25, 0.5), "v1")
    gating = Gating("edge", "cloud", {}, Prediction(("accept", "escalate"), (0.5, 0.5), "v1"),
                    "accept", 0.5, edge_cost_usd=0.001, edge_latency_s=1.0)  # fmt: skip
    both = replace(ARMS[0], arm_id="both", tier="cascade", parts=("edge", "cloud"))
    made = []
    for i, event in enumerate(EVENTS):
        if i % 2:
            arms = {"prediction": prediction, "arms": (*event.logged.decision.arms, both)}
            arm = event.logged.decision.arm
            made.append(changed(event, decision={**arms, "arm": arm, "propensity": 0.25}))
        else:
            verdict = replace(gating, verdict="escalate" if i % 4 else "accept")
            cost = 0.011 if i % 4 else 0.001
            made.append(
                changed(
                    event,
                    decision={"prediction": prediction, "arm": "both", "propensity": 0.5,
                              "arms": (*event.logged.decision.arms, both)},
                    outcome={"arm": "both", "gating": verdict, "cost_usd": cost},
                )
            )  # fmt: skip
    found = reckon(ledger_of(made))
    models = {m["arm"]: m for m in found["compared"]["single_models"]}
    assert set(models) == {"edge", "cloud"}
    drawn = sum(e.logged.decision.arm == "edge" for e in made)
    assert models["edge"]["seen"] == drawn + len(range(0, len(EVENTS), 4))
    assert {arm["arm"]: arm["tier"] for arm in found["arms"]}["both"] == "cascade"


def silent(log):
    return [replace(e, feedback=()) for e in log]


def only(log, arm):
    return [e for e in log if e.logged.decision.arm == arm]


def one_session(log):
    return [changed(e, decision={"tags": {"session_id": "s"}}) for e in log]


def same_cost(log):
    return [changed(e, outcome={"cost_usd": 0.0}) for e in log]


DEGENERATE = {
    "empty": ([], "no decisions"),
    "nothing judged": (silent(EVENTS), "nobody judged"),
    "one arm judged": (
        [e if e.logged.decision.arm == "edge" else replace(e, feedback=()) for e in EVENTS],
        "no answer of cloud was judged",
    ),
    "one arm only": (only(EVENTS, "cloud"), "only one model was ever drawn (cloud)"),
    "costs unknown": (events(cost=(None, None)), "cost is not known"),
    "one cost unknown": (events(cost=(0.001, None)), "what answers of cloud cost is not known"),
    "one session": (one_session(EVENTS), "too few sessions"),
    "one decision": (EVENTS[:1], "only one model"),
    "two decisions": (
        [only(EVENTS, "edge")[0], only(EVENTS, "cloud")[0]],
        "It cannot be said",
    ),
    "all forced": (
        [changed(e, decision={"reason": "pin", "propensity": 1.0}) for e in EVENTS],
        "no decision of this stretch was drawn",
    ),
    "no outcome": (
        [replace(e, outcome=None, outcome_position=None) for e in EVENTS],
        "no decision of this stretch was drawn",
    ),
    "no estimates": (
        [changed(e, decision={"prediction": replace(e.logged.decision.prediction, estimates=())})
         for e in EVENTS],
        "It cannot be said",
    ),
    "all at one cost": (same_cost(EVENTS), "less that of the best single model"),
}  # fmt: skip


@pytest.mark.parametrize("case", DEGENERATE)
def test_what_a_log_cannot_say_is_said_in_a_sentence(case):
    made, sentence = DEGENERATE[case]
    found = reckon(ledger_of(made))
    assert sentence in found["verdict"]["text"]
    assert found["verdict"]["earns"] is not True
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "nan" not in render(found).lower().replace("finance", "")
    if found["decisions"]["all"]:
        assert facts(found)
        assert all("nan" not in " ".join(row) for _, _, rows in tables(found) for row in rows)


def test_few_judged_answers_are_not_believed_and_what_is_missing_is_listed():
    few = reckon(ledger_of(events(20)))
    assert few["verdict"]["earns"] is False
    assert any("too few judged answers" in text for text in few["verdict"]["missing"])
    assert any("too few sessions" in text for text in few["verdict"]["missing"])


def test_alarms_are_part_of_the_report():
    alarm = Alarm("a1", "quality", "cloud", "d1", 12, 0.9, 0.7, "explores it more")
    noticed = LoggedAlarm(1, alarm, 10, NOW + timedelta(hours=1))
    found = reckon(ledger_of(EVENTS[:40]), alarms=[noticed])
    assert found["alarms"][0]["kind"] == "quality"
    assert "explores it more" in render(found)


def test_the_page_loads_nothing_and_trusts_no_text():
    first = EVENTS[0]
    name = first.logged.decision.decision_id
    evil = replace(first, feedback=((1, vote(name, 1, source="<script>alert(1)</script>")),))
    page = render(reckon(ledger_of([evil, *EVENTS[1:]])))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert all(f"<figure id='{name}'>" in page for name in ("front", "traffic", "spend", "quality"))


def test_the_hull_is_what_mixing_reaches():
    cost, quality = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 0.6, 0.9, 0.8])
    reached = [hull_at(cost, quality, np.array(c)).item() for c in (0.0, 1.0, 2.0, 3.0, 9.0)]
    assert reached == pytest.approx([0.5, 0.7, 0.9, 0.9, 0.9])
    assert hull_area(cost, quality) == pytest.approx((2 * 0.7 + 0.9) / 3, abs=1e-4)
    assert corners(list(zip(cost, quality, "abcd", strict=True))) == ("a", "c")


def test_a_curve_goes_on_level_beyond_its_dearest_point():
    found = area(np.array([2.0, 1.0]), np.array([0.9, 0.5]), np.array(1.0), np.array(3.0))
    assert found == pytest.approx((0.7 + 0.9) / 2)


def test_an_arm_that_was_not_eligible_is_taken_to_do_what_the_log_did():
    alone = Prediction(("cloud",), (1.0,), "v1")
    masked = [
        replace(
            EVENTS[0],
            logged=logged(f"m{i}", arm="cloud", propensity=1.0, prediction=alone),
            outcome=outcome(f"m{i}", arm="cloud", cost_usd=0.01),
            feedback=(),
        )
        for i in range(10)
    ]
    found = reckon(ledger_of([*EVENTS, *masked]))
    edge = next(m for m in found["compared"]["single_models"] if m["arm"] == "edge")
    assert edge["not_eligible"] == 10
