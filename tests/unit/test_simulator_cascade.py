"""Cascades in the simulator: what they answer, log and leave behind."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.gate import VERDICTS
from bandit.primitives import Estimate, Prediction
from simulator.answers import read_signals, signal_columns
from simulator.cascade_study import at_budget, budget_of, oracle_quality
from simulator.drift import NO_DRIFT, Event
from simulator.driver import Driver
from simulator.dual import DualPacer
from simulator.engine import Task, run_task
from simulator.errors import BadStudyError, BadTableError
from simulator.gate_study import (
    auroc,
    calibration_error,
    chance_error,
    held_out,
    learning,
    swapped,
)
from simulator.roster import Casting, cast
from simulator.table import load_table
from tests import studies


def study(n=400, *, policies=("composed",), **options):
    """`studies.study` whose arms' answers show how good they are, with a little noise."""
    made = studies.study(n, policies=policies, cascade=True, **options)
    rng = np.random.default_rng(3)
    shown = {
        model: tuple(
            {"margin_mean": float(q + 0.05 * rng.standard_normal()), "n_tokens": 40.0}
            for q in made.table.quality[:, j]
        )
        for j, model in enumerate(made.table.models)
    }
    return replace(made, table=replace(made.table, signals=shown))


class Recording:
    """A policy that keeps every lesson."""

    has_gate = True

    def __init__(self, inner):
        self.inner, self.lessons = inner, []
        self.name, self.version, self.alarms = inner.name, inner.version, ()
        self.predict, self.gate = inner.predict, inner.gate

    def learn(self, interaction):
        self.lessons.append(interaction)
        self.inner.learn(interaction)


def drive(made, label):
    world = made.world(0)
    policy = Recording(cast(Casting(made, label, 0, world.survey())))
    driver = Driver(
        world,
        policy,
        made.drive(0),
        contexts=made.bank.contexts(),
        arrivals=made.arrival_times(),
    )
    return driver.run(), policy.lessons


def test_every_cascade_logs_both_stages_and_both_bills():
    made = study(150)
    trace, lessons = drive(made, "always-cascade")
    first = [lesson for lesson in lessons if lesson.reward.cost_usd is not None]
    assert len(first) == 150
    for t, lesson in enumerate(first):
        gating = lesson.gating
        assert lesson.decision.propensity == 1.0
        assert gating.prediction.arms == VERDICTS
        assert gating.propensity == gating.prediction.propensity(gating.verdict)
        assert trace.accepts[t] == pytest.approx(gating.prediction.pmf[0])
        asked = gating.verdict == "escalate"
        assert trace.verdict[t] == 1 + asked
        cloud_usd = lesson.reward.cost_usd - gating.edge_cost_usd
        assert cloud_usd == pytest.approx(0.001 if asked else 0.0)


def test_a_pmf_of_the_gate_can_be_recomputed_from_the_log_up_to_there():
    made = study(60)
    _, lessons = drive(made, "always-cascade")
    twin = cast(Casting(made, "always-cascade", 0, made.world(0).survey()))
    for lesson in lessons:
        decision, gating = lesson.decision, lesson.gating
        if lesson.reward.cost_usd is not None:
            edge, cloud, _ = decision.arms
            again = twin.gate(decision.context, edge, cloud, decision.scenario, gating.signals)
            assert again.pmf == gating.prediction.pmf
        twin.learn(lesson)


def test_what_is_delivered_is_what_is_judged():
    """The edge's answer where it was accepted, the cloud's where it was not."""
    trace, _ = drive(study(200), "always-cascade")
    kept = trace.verdict == 1
    delivered = np.where(kept, trace.edge_quality, trace.cloud_quality)
    assert trace.quality == pytest.approx(delivered)


def test_a_policy_without_a_gate_is_offered_no_cascade():
    found = run_task(study(80), Task("pre-only", 0), study(80).bank.contexts()).windows["all"]
    assert found["share"]["cascade"] == 0.0


def test_only_cascades_needs_a_cascade():
    made = studies.study(20)
    casting = Casting(made, "always-cascade", 0, made.world(0).survey())
    with pytest.raises(BadStudyError, match="--cascade"):
        cast(casting)


@pytest.mark.parametrize(("arm", "verdict"), [("edge", 2.0), ("cloud", 1.0)])
def test_a_failing_part_forces_the_verdict(arm, verdict):
    outage = Event("outage", 0, 10**6, fields={"arm": arm, "rate": 1.0})
    made = study(40, plan=replace(NO_DRIFT, events=(outage,)))
    trace, lessons = drive(made, "always-cascade")
    assert (trace.verdict == verdict).all()
    forced = [lesson.gating.forced for lesson in lessons]
    assert all(forced) if arm == "edge" else any(forced)


def test_spend_meets_the_budget_whatever_stage_decides():
    """Bills move the price after every answer; within 15 % over the second half of 500 rounds."""
    made = study(1000, policies=("pre-only[pacer=dual]", "always-cascade"))
    for runs in at_budget(made, 0.5, workers=1).values():
        assert runs[:, 3] == pytest.approx(1.0, abs=0.15)


def test_a_budget_is_kept_while_the_price_that_keeps_it_rises():
    """Someone who pays two budgets whenever they are worth it, which are worth two hundred times
    as much after 2,000 bills. Steps of .1 / sqrt(3) against every bill alone would lag behind by
    log(200) / 2000 / .058 = .046. With debts repaid, the last 1,000 bills come to the budget but
    for what is owed at either end: some ten budgets, .01."""
    pacer, rng, bills = DualPacer(1.0), np.random.default_rng(0), []
    for t in range(2000):
        worth = rng.random() * 200.0 ** (t / 2000)
        bills.append(2.0 if worth > 2.0 * pacer.price else 0.0)
        pacer.completed(Prediction((), (), ""), bills[-1])
    assert np.mean(bills[1000:]) == pytest.approx(1.0, abs=0.02)


def test_a_forecast_that_never_comes_true_does_not_keep_the_price_up():
    """It expects three budgets a query and pays nothing: without a look at the bills the price
    would rise for ever."""
    pacer = DualPacer(1.0)
    foretold = Prediction(("cloud",), (1.0,), "", (Estimate(0.5, 3.0, 1.0, 0.5),))
    for _ in range(200):
        pacer.completed(foretold, 0.0)
    assert pacer.price < 0.01


def test_the_oracle_of_a_budget_lies_between_the_edge_and_the_best_of_both():
    made = study(200)
    quality = made.table.quality
    found = [oracle_quality(made, budget_of(made, share)) for share in (0.0, 0.3, 1.0)]
    assert found[0] == pytest.approx(quality[:, 0].mean())
    assert found == sorted(found)
    assert found[2] == pytest.approx(quality.max(axis=1).mean())


def test_a_gate_ranks_better_with_labels_and_is_calibrated_again_after_a_swap():
    """Signals that show the score but for a twentieth must rank nearly perfectly."""
    made = study(1500)
    scores = dict(learning(made, 0))
    assert scores["1,000 labels"].auroc > 0.9
    assert scores["1,000 labels"].ece < scores["no label"].ece
    after = dict(swapped(made, 0))
    assert after["200 labels after"].ece < after["0 labels after"].ece + 0.02


def test_auroc_and_calibration_error_of_nothing_known():
    rng = np.random.default_rng(0)
    good = (rng.random(200) < 0.5).astype(float)
    assert auroc(np.zeros(200), good) == 0.5
    assert np.isnan(auroc(np.zeros(3), np.ones(3)))
    assert calibration_error(good, good) == 0.0


def test_response_texts_and_signal_columns_become_signals(tmp_path):
    rows = ["prompt,score:a,score:b,response:a,signal:a:margin_mean"]
    rows += ['"What is 2 + 2?",1,1,"The answer is 4.",0.5', '"And 3?",0,1,,']
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows), "utf-8")
    table = load_table(path, ["a", "b"], signals=True)
    assert table.signals["a"][0]["margin_mean"] == 0.5
    assert table.signals["a"][0]["concludes"] == 1.0
    assert table.signals["a"][1] == {}
    assert "b" not in table.signals
    assert table.take(np.array([1])).signals["a"] == ({},)
    assert load_table(path, ["a", "b"]).signals == {}


def test_another_file_is_joined_by_a_column(tmp_path):
    (tmp_path / "t.csv").write_text("id,prompt,score:a,score:b\n1,x,1,1\n2,y,0,1\n", "utf-8")
    more = tmp_path / "more.csv"
    more.write_text("response:a,id\nlast,2\n", "utf-8")
    table = load_table(tmp_path / "t.csv", ["a", "b"], join=f"{more}:id", signals=True)
    assert table.signals["a"][0] == {}
    assert table.signals["a"][1]["n_words"] == 1.0


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ("more.csv", "FILE:COLUMN"),
        ("more.csv:ix", "no column 'ix' to join by"),
        ("none.csv:id", "no such"),
    ],
)
def test_a_join_that_cannot_be_is_explained(tmp_path, wish, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("id,prompt,score:a,score:b\n1,x,1,1\n", "utf-8")
    (tmp_path / "more.csv").write_text("response:a,id\nlast,2\n", "utf-8")
    with pytest.raises((BadStudyError, BadTableError), match=says):
        load_table(tmp_path / "t.csv", ["a", "b"], join=wish)


@pytest.mark.parametrize("value", ["much", "inf"])
def test_a_signal_that_is_no_finite_number_is_refused(tmp_path, value):
    columns = {"prompt": ["x"], "signal:a:margin_mean": [value]}
    assert signal_columns(list(columns), ["a"]) == ["signal:a:margin_mean"]
    with pytest.raises(BadTableError, match="signal:a:margin_mean"):
        read_signals(tmp_path / "t.csv", columns, ["a"])


def test_by_chance_alone_a_perfect_gate_is_off_by_the_deviation_of_a_mean():
    """At .5 and bins of 60, a mean's deviation is .5 / sqrt(60) = .0645, times sqrt(2 / pi)."""
    found = chance_error(np.full(600, 0.5), np.random.default_rng(0))
    assert found == pytest.approx(0.0645 * np.sqrt(2.0 / np.pi), rel=0.05)


def test_no_prompt_is_both_learned_and_tested():
    made = study(300)
    prompts = tuple(f"question {i % 40}" for i in range(len(made.table)))
    made = replace(made, table=replace(made.table, prompts=prompts))
    learned, tested = held_out(made, np.random.default_rng(0))
    assert sorted([*learned, *tested]) == list(range(len(made.table)))
    assert {prompts[i] for i in learned}.isdisjoint(prompts[i] for i in tested)
    assert len(tested) >= len(made.table) // 5
