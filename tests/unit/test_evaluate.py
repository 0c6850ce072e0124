"""Candidates valued from logged decisions."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.primitives import Estimate, Prediction
from bandit.utility import PRESETS, Scenario
from feedback.log import LogEvent
from simulator.candidates import (
    always,
    as_logged,
    by_policy,
    check_arms,
    explored,
    parse_candidate,
)
from simulator.errors import BadStudyError
from simulator.evaluate import EvaluationConfig, evaluate
from simulator.evidence import EvaluationRecord, arms_of, records_from
from tests.makers import context, decision, logged, outcome, vote

QUALITY = Scenario("plain", 1.0, 0.0, 0.0)
PLAIN = EvaluationConfig(scenario=QUALITY, floor=0.2)


def log(n=2000, *, seed=0, session=None):
    """Edge answers well when x > 0, cloud always; edge is drawn with .8 when x > 0, else .2."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(n):
        x = rng.normal(size=3)
        p = 0.8 if x[0] > 0 else 0.2
        arm, propensity = ("edge", p) if rng.random() < p else ("cloud", 1 - p)
        chance = 0.8 if arm == "cloud" else (0.9 if x[0] > 0 else 0.3)
        tags = {} if session is None else {"session_id": f"s{i // session}"}
        made = logged(
            f"d{i}",
            context=context(x=x),
            prediction=Prediction(
                ("edge", "cloud"),
                (p, 1 - p),
                "v1",
                (
                    Estimate(0.9 if x[0] > 0 else 0.3, 0.0, 0.2, 0.5 + 0.1 * np.sign(x[0])),
                    Estimate(0.8, 0.01, 2.0, 0.5),
                ),
            ),
            arm=arm,
            propensity=propensity,
            tags=tags,
        )
        cost, latency = (0.0, 0.2) if arm == "edge" else (0.01, 2.0)
        seen = outcome(f"d{i}", arm=arm, cost_usd=cost, latency_s=latency)
        records.append(EvaluationRecord(made, seen, float(rng.random() < chance)))
    return records


LOG = log()


def by_method(report):
    return {estimate.method: estimate for estimate in report.estimates}


@pytest.mark.parametrize(
    ("candidate", "truth"),
    [
        (always("cloud"), 0.8),
        (always("edge"), 0.6),
        (explored(gamma=np.inf, floor=0.0), 0.85),
        (as_logged(), 0.5 * (0.8 * 0.9 + 0.2 * 0.8) + 0.5 * (0.2 * 0.3 + 0.8 * 0.8)),
    ],
)
def test_every_estimator_finds_what_the_candidate_is_worth(candidate, truth):
    """Within 4 standard errors, read off the interval (3.92 of them wide)."""
    report = evaluate(LOG, candidate, config=PLAIN)
    assert set(by_method(report)) == {"ips", "snips", "cressie_read", "dr", "switch_dr"}
    for found in report.estimates:
        assert abs(found.value - truth) < (found.high - found.low) / 3.92 * 4
    low, high = report.value_sequence.low[-1], report.value_sequence.high[-1]
    assert low < truth < high


def test_a_model_that_explains_the_reward_sharpens_the_estimate():
    """Quality linear in the features: what is left is how it varies between queries."""
    graded = [
        replace(r, quality=float(np.clip(0.5 + 0.15 * x[0], 0, 1)))
        for r in LOG
        for x in [r.logged.decision.context.namespaces["text"]]
    ]
    report = evaluate(graded, always("edge"), config=PLAIN)
    width = {method: e.high - e.low for method, e in by_method(report).items()}
    assert width["dr"] < 0.7 * width["snips"] < 0.7 * width["ips"]
    assert report.headline == "dr"


def test_one_log_serves_every_scenario():
    """Reward is recomposed from the raw parts: a cheap arm is worth more where cost counts."""
    thrifty = Scenario("thrifty", 0.2, 0.8, 0.0, cost_ceiling_usd=0.01)
    report = evaluate(LOG, always("edge"), config=EvaluationConfig(scenario=thrifty, floor=0.2))
    assert by_method(report)["dr"].value == pytest.approx(0.8 + 0.2 * 0.6, abs=0.03)
    dear = evaluate(LOG, always("cloud"), config=EvaluationConfig(scenario=thrifty, floor=0.2))
    assert by_method(dear)["dr"].value == pytest.approx(0.2 * 0.8, abs=0.03)


def test_a_lift_over_the_log_is_bounded():
    report = evaluate(log(6000), explored(gamma=np.inf, floor=0.0), config=PLAIN)
    value, low, high = report.lift_sequence.final
    assert low < value < high
    assert value == pytest.approx(0.85 - 0.79, abs=0.05)
    assert low > 0.0


def test_what_cannot_be_used_is_counted_and_left_out():
    forced = replace(LOG[0], logged=logged("f", reason="pin", propensity=1.0))
    failed = replace(LOG[1], outcome=outcome("d1", failure="timeout"))
    unjudged = replace(LOG[2], quality=None)
    dumb = logged("u", prediction=Prediction(("edge", "cloud"), (0.5, 0.5), "v1"), propensity=0.5)
    unvalued = EvaluationRecord(dumb, outcome("u"), 1.0)
    records = [forced, failed, unjudged, unvalued, *LOG[10:200]]
    report = evaluate(records, explored(gamma=10.0, floor=0.2), config=PLAIN)
    assert (report.n, report.n_forced, report.n_unrewarded, report.n_unvalued) == (190, 1, 2, 1)


def test_a_candidate_that_was_often_not_eligible_is_said_so():
    alone = Prediction(("cloud",), (1.0,), "v1")
    masked = logged("m", arm="cloud", propensity=1.0, prediction=alone)
    records = [*LOG[:100], EvaluationRecord(masked, outcome("m", arm="cloud"), 1.0)] * 2
    report = evaluate(records, always("edge"), config=PLAIN)
    assert any("edge was not eligible in 1.0%" in text for text in report.warnings)
    assert report.unsupported == 0.0


def test_an_arm_outside_the_log_is_said_to_be_unsupported():
    never = Prediction(("edge", "cloud"), (0.0, 1.0), "v1")
    rows = [
        replace(r, logged=logged(f"n{i}", arm="cloud", propensity=1.0, prediction=never))
        for i, r in enumerate(LOG[:50])
    ]
    report = evaluate(rows, always("edge"), config=PLAIN)
    assert report.headline is None
    assert report.unsupported == pytest.approx(1.0)
    assert any("never tried" in text for text in report.warnings)
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_floor_that_the_log_does_not_keep_is_replaced_and_said():
    strict = evaluate(LOG, always("edge"), config=EvaluationConfig(scenario=QUALITY, floor=0.5))
    assert strict.floor == pytest.approx(0.2)
    assert any("below the floor of 0.5" in text for text in strict.warnings)
    unstated = evaluate(LOG, always("edge"), config=EvaluationConfig(scenario=QUALITY))
    assert any("was read from the log" in text for text in unstated.warnings)


def test_sessions_widen_the_intervals():
    """Ten identical decisions a session."""
    once = log(300)
    copies = [
        replace(r, logged=replace(r.logged, decision=replace(r.logged.decision, tags=tags)))
        for i, r in enumerate(once)
        for tags in [{"session_id": f"s{i}"}] * 10
    ]
    blind = [
        replace(r, logged=replace(r.logged, decision=replace(r.logged.decision, tags={})))
        for r in copies
    ]
    for k, record in enumerate(blind):
        unique = replace(record.logged.decision, decision_id=f"b{k}")
        blind[k] = replace(record, logged=replace(record.logged, decision=unique))
    wide = by_method(evaluate(copies, always("cloud"), config=PLAIN))["snips"]
    narrow = by_method(evaluate(blind, always("cloud"), config=PLAIN))["snips"]
    assert (wide.high - wide.low) > 2.5 * (narrow.high - narrow.low)


def test_a_failover_says_nothing_of_the_arm_that_was_drawn():
    elsewhere = EvaluationRecord(logged("o", propensity=0.5), outcome("o", arm="cloud"), 1.0)
    report = evaluate([*LOG[:50], elsewhere], always("edge"), config=PLAIN)
    assert (report.n, report.n_diverted) == (50, 1)


def test_silence_is_said_with_the_share_judged_of_every_arm():
    quiet = [replace(r, quality=None) if r.outcome.arm == "edge" else r for r in LOG[:100]]
    n_edge = sum(r.outcome.arm == "edge" for r in LOG[:100])
    (first, *_) = evaluate(quiet, always("cloud"), config=PLAIN).warnings
    assert first.startswith(f"{n_edge / 100:.1%} of the answered decisions have no judgement")
    assert "cloud 100.0%, edge 0.0%" in first
    assert "not missing at random" in first
    assert not any("no judgement" in text for text in evaluate(LOG, as_logged()).warnings)


def test_features_of_another_schema_do_not_break_the_model():
    old = replace(LOG[0].logged.decision, context=replace(context(x=[1.0] * 9), schema_version="0"))
    records = [replace(LOG[0], logged=replace(LOG[0].logged, decision=old)), *LOG[1:300]]
    assert evaluate(records, always("edge"), config=PLAIN).n == 300


def test_a_restored_policy_is_valued():
    schema = {name: len(part) for name, part in context().namespaces.items()}
    policy = make_policy(PolicyConfig(schema=schema))
    report = evaluate(LOG[:200], by_policy(policy, scenario=QUALITY), config=PLAIN)
    assert report.candidate == policy.version
    assert report.n == 200
    assert report.estimates[0].ess > 50


def test_too_small_a_log_says_so():
    report = evaluate(LOG[:1], always("edge"), config=PLAIN)
    assert report.estimates == ()
    assert report.warnings == ("fewer than two decisions can be used",)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_same_log_gives_the_same_report():
    first, second = (evaluate(LOG[:400], always("edge"), config=PLAIN) for _ in range(2))
    assert first.to_dict() == second.to_dict()


def test_a_report_is_json_and_names_what_it_rests_on():
    found = evaluate(LOG, always("edge"), config=PLAIN).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["candidate"] == "always:edge"
    assert found["logged"]["method"] == "mean"
    assert len(found["anytime"]["value"]["steps"]) == len(found["anytime"]["value"]["low"])


def test_records_hold_the_last_that_is_known_of_a_decision():
    made, answer, up = logged("d1"), outcome("d1"), vote("d1", 1)
    events = [
        LogEvent(1, "outcome", made, answer, 1, ()),
        LogEvent(2, "feedback", made, answer, 1, ((2, up),)),
    ]
    assert records_from(events) == [EvaluationRecord(made, answer, 1.0)]


def test_a_scenario_recomposes_the_logged_estimates():
    """Under a scenario that wants cost only, the free arm is the best whatever its quality."""
    thrifty = Scenario("thrifty", 0.0, 1.0, 0.0)
    pmf = explored(gamma=np.inf, floor=0.05, scenario=thrifty).pmf(LOG[0].logged.decision)
    assert pmf == pytest.approx((0.95, 0.05))


def test_what_was_not_estimated_counts_as_the_ceiling():
    pmf = explored(gamma=np.inf, floor=0.0, scenario=PRESETS["speed"]).pmf(decision())
    assert pmf == pytest.approx((1.0, 0.0), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("logged", "logged"),
        ("always:cloud", "always:cloud"),
        ("scenario:economy", "scenario:economy"),
        ("explore:gamma=20,floor=0.1", "explore:gamma=20,floor=0.1"),
        ("explore:", "explore:gamma=100,floor=0.05"),
    ],
)
def test_candidates_have_names(text, name):
    assert parse_candidate(text).name == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("always:", "want logged"),
        ("greedy", "want logged"),
        ("scenario:econmy", "did you mean 'economy'"),
        ("explore:gamma=x", "not a number"),
        ("explore:floor=2", "floor in"),
        ("explore:beta=1", "want gamma"),
    ],
)
def test_a_name_that_is_no_candidate_is_refused_in_one_line(text, why):
    with pytest.raises(BadStudyError, match=why):
        parse_candidate(text)


def test_an_arm_that_there_is_not_is_no_candidate():
    known = arms_of(LOG[:20])
    check_arms([always("edge"), as_logged()], known)
    with pytest.raises(BadStudyError, match=r"always:zz.*there are cloud, edge"):
        check_arms([always("edge"), always("zz")], known)


def test_a_snapshot_says_nothing_of_features_that_it_does_not_know():
    policy = make_policy(PolicyConfig(schema={"bias": 1, "text": 3}))
    other = [
        replace(r, logged=replace(r.logged, decision=replace(r.logged.decision, context=of_two())))
        for r in LOG[:30]
    ]
    candidate = by_policy(policy, scenario=QUALITY, schema_version="schema-1")
    report = evaluate([*other, *LOG[30:200]], candidate, config=PLAIN)
    assert (report.n, report.to_dict()["left_out"]["other_features"]) == (170, 30)
    logged_one = evaluate([*other, *LOG[30:200]], as_logged(), config=PLAIN)
    assert logged_one.n == 200
    assert any("30 of the 200 decisions have features" in w for w in logged_one.warnings)


def of_two():
    return replace(context(x=[0.5]), schema_version="schema-0")
