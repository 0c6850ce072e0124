"""Our policy run again with what a rival really spent."""

import pytest

from bandit.pacing import PacerConfig
from bandit.primitives import Arm, Estimate, Prediction
from bandit.utility import Scenario
from simulator.allowance import Allowance, AllowancePacer
from simulator.cli_drift import _budgets, _rivals, ablation_rows
from simulator.drift import DriftPlan, Phase
from simulator.engine import Task, run_study, run_tasks
from simulator.errors import BadStudyError
from simulator.matching import match
from tests.studies import study

PHASES = (Phase("a", 0, 200), Phase("late a", 150, 200), Phase("b", 200, 400))
MADE = study(
    400,
    policies=("always-cloud", "always-edge"),
    plan=DriftPlan(phases=PHASES),
    seeds=(0, 1),
    budget_usd=5e-4,
)


@pytest.fixture(scope="module")
def runs():
    return run_study(MADE, workers=1)


def test_ours_is_compared_at_the_rivals_spend_phase_by_phase(runs):
    """The edge costs .0001 and the cloud .001: with the one, ours is (but for exploring) the edge,
    with the other it may take what is better, which is worth .2 or more."""
    rivals = {name: runs[name] for name in ("always-cloud", "always-edge")}
    found = match(MADE, "composed", rivals, workers=1)
    assert [d.phase for d in found["always-edge"]] == ["a", "b"]
    poor, rich = found["always-edge"][1], found["always-cloud"][1]
    assert poor.rival_usd == pytest.approx(1e-4)
    assert poor.own_usd < 1.6e-4
    assert rich.rival_usd == pytest.approx(1e-3)
    assert rich.own_usd < 1e-3
    assert rich.low <= rich.reward <= rich.high
    assert rich.reward > 0.05


def test_another_allowance_holds_from_its_round_on():
    task = Task("composed", 0, allowances=(Allowance(0, 2e-4), Allowance(200, 8e-4)))
    (run,) = run_tasks(MADE, [task], workers=1)
    first, _, second = (phase["cost_usd"] for phase in run.windows["phases"])
    assert first == pytest.approx(2e-4, rel=0.1)
    assert second > 4e-4


def test_what_was_saved_does_not_go_over_into_another_budget():
    estimates = (Estimate(0.5, 1e-4, None, 0.5), Estimate(0.9, 1e-3, None, 0.9))
    prediction = Prediction(("edge", "cloud"), (0.5, 0.5), "v", estimates)
    arms = (Arm("edge", "edge", "small"), Arm("cloud", "cloud", "large"))
    pacer = AllowancePacer((Allowance(0, 1e-3), Allowance(50, 2e-4)), PacerConfig(1.0))
    for _ in range(50):
        pacer.completed(prediction, 1e-4)
    before = pacer.priced(Scenario("s", 1.0, 0.0, 0.0), arms).cost_price
    for _ in range(10):
        pacer.completed(prediction, 1e-4)
    assert pacer.priced(Scenario("s", 1.0, 0.0, 0.0), arms).cost_price > 10 * before


@pytest.mark.parametrize(
    ("match_", "policies", "said"),
    [("naive", "composed,linucb", "--match"), ("linucb", "linucb,composed", "begin with")],
)
def test_rivals_that_cannot_be_matched_are_refused(match_, policies, said):
    with pytest.raises(BadStudyError, match=said):
        _rivals(match_, policies)


def test_rivals_are_matched_only_if_asked_for():
    assert _rivals(None, "composed,linucb") == ()
    assert _rivals("linucb", "composed,linucb") == ("linucb",)


def test_an_ablation_says_what_the_first_policy_costs_when_nothing_drifts():
    def run(reward, regret):
        phases = [{"name": name, "reward": reward} for name in ("P1", "P2", "P3")]
        return {
            "phases": phases,
            "all": {"reward": reward, "regret": regret, "spend_over_budget": 0.5},
        }

    drop = {"full": run(0.8, 0.2), "without": run(0.7, 0.3)}
    calm = {"full": run(0.8, 0.102), "without": run(0.8, 0.1)}
    rows = list(ablation_rows({"tight": (drop, calm)}))
    assert rows == [
        ("full", "0.8000", "0.8000", "0.8000", "+0.0%", "0.50"),
        ("without", "0.7000", "0.7000", "0.8000", "+2.0%", "0.50"),
    ]


def test_a_budget_that_there_is_not_is_refused():
    assert _budgets("tight,loose") == ["tight", "loose"]
    with pytest.raises(BadStudyError, match="did you mean 'loose'"):
        _budgets("tight,lose")
