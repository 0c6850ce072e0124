"""A decision log replayed by rejection sampling, and read between two moments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bandit.policies.baselines import MixPolicy
from bandit.primitives import Arm, Context, Decision, Prediction
from feedback.log import LoggedDecision
from feedback.memory import MemoryDecisionLog
from feedback.outcome import Feedback, Outcome
from simulator.errors import BadStudyError
from simulator.evidence import EvaluationRecord
from simulator.log_replay import judged_draws, of_one_schema, replay_log
from simulator.logs import Period, named_candidates, parse_moment, read_events
from simulator.roster import blank_policy
from tests.studies import QUALITY

START = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = Context({"x": np.ones(1, dtype=np.float32)}, "v0")
ARMS = (Arm("edge", "edge", "m"), Arm("cloud", "cloud", "m"))


def records(n=4000, p_cloud=0.2, seed=0, reason="policy"):
    """Cloud is worth .8, edge .4; logged with a fixed probability."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        arm = "cloud" if rng.random() < p_cloud else "edge"
        decision = Decision(
            f"d{i}",
            Context({"x": np.ones(1, dtype=np.float32)}, "v1"),
            ARMS,
            QUALITY,
            Prediction(("edge", "cloud"), (1 - p_cloud, p_cloud), "v"),
            arm,
            p_cloud if arm == "cloud" else 1 - p_cloud,
            reason,
            START + timedelta(minutes=i),
        )
        mean = 0.8 if arm == "cloud" else 0.4
        quality = float(np.clip(mean + 0.1 * rng.standard_normal(), 0, 1))
        outcome = Outcome(decision.decision_id, arm, "m", 1.0, cost_usd=0.001)
        made.append(EvaluationRecord(LoggedDecision(decision), outcome, quality))
    return made


def test_what_is_kept_is_as_if_the_policy_had_run():
    """A policy that plays cloud nine times in ten is worth .9 * .8 + .1 * .4 = .76."""
    found = replay_log(records(), MixPolicy({"cloud": 0.9, "edge": 0.1})).to_dict()
    # 4000 rows, a fifth of them kept: standard error of the mean about .006; four of them.
    assert found["kept"] == pytest.approx(800, abs=115)
    assert found["quality"] == pytest.approx(0.76, abs=0.025)
    assert found["share"]["cloud"] == pytest.approx(0.9, abs=0.045)
    assert found["cost_usd"] == pytest.approx(0.001)


def test_a_learning_policy_learns_from_what_it_keeps():
    found = replay_log(records(), blank_policy("lints", {"x": 1})).to_dict()
    assert found["share"]["cloud"] > 0.9


def test_forced_unjudged_and_foreign_rows_are_not_offered():
    good = records(10)
    forced = records(5, reason="pin")
    unjudged = [EvaluationRecord(r.logged, r.outcome, None) for r in records(5)]
    assert judged_draws([*good, *forced, *unjudged]) == good
    assert replay_log([], MixPolicy()).to_dict() == {"offered": 0, "kept": 0}


def test_rows_of_the_features_that_fewer_have_are_not_offered():
    good = records(10)
    old = [
        replace(r, logged=replace(r.logged, decision=replace(r.logged.decision, context=OTHER)))
        for r in records(4)
    ]
    assert of_one_schema([*old, *good]) == good
    assert of_one_schema([]) == []


def test_policies_that_need_the_truth_cannot_be_replayed_on_a_log():
    with pytest.raises(BadStudyError, match="full information"):
        blank_policy("oracle", {})


async def test_only_decisions_of_the_period_are_read():
    log = MemoryDecisionLog(clock=lambda: START + timedelta(days=1))
    made = records(6)
    await log.add_decisions([r.logged for r in made])
    for r in made:
        await log.add_outcome(r.outcome)
        await log.add_feedback(
            [Feedback(f"f-{r.outcome.decision_id}", r.outcome.decision_id, "judge", 0.5, "me")]
        )
    since = parse_moment("--since", "2026-01-01T00:02")
    until = parse_moment("--until", "2026-01-01T00:04+00:00")
    events = await read_events(log, Period(since, until))
    assert {e.logged.decision.decision_id for e in events} == {"d2", "d3"}
    assert len(await read_events(log, Period())) == 12


async def test_an_unknown_snapshot_is_said():
    log = MemoryDecisionLog(clock=lambda: START)
    with pytest.raises(BadStudyError, match="no such snapshot"):
        await named_candidates(log, ["snapshot:latest"])
    found = await named_candidates(log, ["logged", "always:edge"])
    assert [c.name for c in found] == ["logged", "always:edge"]


def test_a_moment_that_is_none_is_refused():
    with pytest.raises(BadStudyError, match="--since"):
        parse_moment("--since", "yesterday")
