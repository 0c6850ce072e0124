"""The pacer: a price of money at which the budget is spent, whatever the start."""

import numpy as np
import pytest

from bandit.outlook import Outlook, Window
from bandit.pacing import (
    BadPacerError,
    BudgetPacer,
    PacerConfig,
    affordable_floor,
    expected_usd,
    lowered,
)
from bandit.packing import scenario_from_dict, scenario_to_dict
from bandit.policies.config import PolicyConfig
from bandit.policies.exploration import inverse_gap_weighting
from bandit.policies.factory import make_policy
from bandit.primitives import Arm, Estimate, Prediction
from bandit.utility import BadScenarioError, Scenario
from simulator.engine import Task, run_task
from simulator.errors import BadStudyError
from simulator.pacers import pacer_of
from tests import studies

ASKED = Scenario("asked", 1.0, 0.0, 0.0)
COSTS = np.array([3e-5, 5.3e-4, 1.5e-2])
NAMES = ("small", "middle", "large")


def arms(prices=(1.0, 1.0, 1.0)):
    return tuple(
        Arm(name, "cloud", name, price_in=price, price_out=0.0)
        for name, price in zip(NAMES, prices, strict=True)
    )


def predict(scenario, utility, cost):
    """What a policy with known means would say, 0.1 being its typical gap."""
    estimates = tuple(Estimate(u, c, None, u) for u, c in zip(utility, cost, strict=True))
    charges = [scenario.charge(c) for c in cost]
    net = [u - charge for u, charge in zip(utility, charges, strict=True)]
    floor = affordable_floor(0.02, charges, 0.1)
    pmf = inverse_gap_weighting(lowered(net, charges, 0.1), gamma=200.0, floor=floor)
    return Prediction(NAMES, pmf, "v", estimates)


def live(pacer, n=3000, *, seed=0, moves=()):
    """Bills of ``n`` queries; ``moves`` are (round, arm, factor) of price moves."""
    rng = np.random.default_rng(seed)
    prices, bills = np.ones(3), []
    for t in range(n):
        for at, arm, factor in moves:
            if at == t:
                prices[arm] *= factor
        scenario = pacer.priced(ASKED, arms(prices))
        utility = np.array([0.79, 0.92, 0.93]) + 0.1 * rng.standard_normal(3)
        prediction = predict(scenario, utility, COSTS * prices)
        j = rng.choice(3, p=prediction.pmf)
        bills.append(COSTS[j] * prices[j] * rng.gamma(2.0, 0.5))
        pacer.completed(prediction, bills[-1])
    return np.array(bills)


@pytest.mark.parametrize("budget", [2.3e-4, 6.6e-4, 1.9e-3])
@pytest.mark.parametrize("start", [None, 0.0, 1e-6, 1e9])
def test_spend_meets_the_budget_from_any_starting_price(budget, start):
    """Within what may be saved or owed at the end: one to two bills of the dearest arm."""
    pacer = BudgetPacer(PacerConfig(budget, start_price=start))
    spent = live(pacer).sum()
    assert spent + pacer.balance_usd <= 3000 * budget * (1 + 1e-9)
    assert 0.93 <= spent / (3000 * budget) <= 1.0 + 3 * 1.5e-2 / (3000 * budget)


@pytest.mark.parametrize(("arm", "factor"), [(2, 10.0), (2, 0.1), (1, 10.0), (1, 0.1)])
def test_a_tenfold_price_move_leaves_the_budget_kept(arm, factor):
    budget = 1.9e-3
    moves = ((1000, arm, factor), (2000, arm, 1.0 / factor))
    bills = live(BudgetPacer(PacerConfig(budget)), moves=moves)
    assert bills.mean() / budget <= 1.02 + 1.5e-1 / (3000 * budget)


def test_a_token_price_moves_the_price_of_money_on_the_next_query():
    pacer = BudgetPacer(PacerConfig(1.9e-3))
    live(pacer, 500)
    before = pacer.price
    after = pacer.priced(ASKED, arms((1.0, 1.0, 0.1))).cost_price
    assert after < before / 2


def test_without_need_money_has_next_to_no_price():
    pacer = BudgetPacer(PacerConfig(1.0))
    live(pacer, 300)
    assert pacer.price * COSTS.max() < 1e-2


def test_what_is_saved_is_bounded_and_what_is_owed_is_not():
    pacer = BudgetPacer(PacerConfig(1e-3, savings=5.0, savings_bills=0.0))
    for _ in range(100):
        pacer.completed(predict(ASKED, (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)), 0.0)
    assert pacer.balance_usd == pytest.approx(5e-3)
    pacer.completed(predict(ASKED, (0.5, 0.5, 0.5), COSTS), 1.0)
    assert pacer.balance_usd == pytest.approx(5e-3 + 1e-3 - 1.0)


def test_an_answer_without_estimates_is_billed_all_the_same():
    pacer = BudgetPacer(PacerConfig(1e-3))
    pacer.completed(Prediction(("small",), (1.0,), "v"), 0.5)
    assert (pacer.balance_usd, pacer.price) == (pytest.approx(1e-3 - 0.5), 50.0)


def test_the_dearest_arm_s_next_bill_is_kept_saved():
    """So that its draw near the end of a month is no overspending."""
    kept, not_kept = (
        BudgetPacer(PacerConfig(2.3e-4, buffer_bills=n, savings_bills=1.5)) for n in (1.0, 0.0)
    )
    balances = []
    for pacer in (kept, not_kept):
        seen = []
        for seed in range(3):
            live(pacer, 600, seed=seed)
            seen.append(pacer.balance_usd)
        balances.append(np.mean(seen))
    assert balances[0] > balances[1]


@pytest.mark.parametrize("bill", [-1e-9, float("nan"), float("inf")])
def test_a_bill_that_is_none_is_refused_and_not_counted(bill):
    pacer = BudgetPacer(PacerConfig(1e-3))
    with pytest.raises(BadPacerError, match="cost_usd"):
        pacer.completed(predict(ASKED, (0.5, 0.5, 0.5), COSTS), bill)
    assert pacer.balance_usd == 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"budget_usd": 0.0}, {"window": 0}, {"horizon": float("nan")}, {"start_price": -1.0}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(BadPacerError, match=next(iter(wrong))):
        PacerConfig(**({"budget_usd": 1e-3} | wrong))


def test_an_outlook_spends_what_the_drawn_pmf_spends():
    scenario = Scenario("paced", 1.0, 0.0, 0.0, cost_price=40.0)
    utility = (0.7, 0.8, 0.9)
    charges = [scenario.charge(c) for c in COSTS]
    net = [u - c for u, c in zip(utility, charges, strict=True)]
    outlook = Outlook(np.array([utility]), COSTS[None], np.ones((1, 3), dtype=bool))
    net = lowered(net, charges, outlook.gap())
    pmf = inverse_gap_weighting(net, gamma=50.0, floor=1e-9)
    assert outlook.spend(40.0, 50.0) == pytest.approx(float(np.dot(pmf, COSTS)))


def test_the_dearer_an_arm_the_less_is_spent_on_exploring_it():
    """Inverse-gap weighting by itself spends the same at any price: .1 / 20 / 400 a query."""
    spent = []
    for cost in (0.01, 0.1, 1.0):
        scenario = Scenario("paced", 1.0, 0.0, 0.0, cost_price=400.0)
        prediction = predict(scenario, (0.79, 0.92, 0.93), (3e-5, 5.3e-4, cost))
        assert prediction.pmf[2] > 0.0
        spent.append(prediction.pmf[2] * cost)
    assert spent[0] > 3 * spent[1] > 9 * spent[2]


def test_a_window_takes_arms_that_come_and_go():
    window = Window(2)
    window.add(predict(ASKED, (0.5, 0.6, 0.7), COSTS))
    window.add(
        Prediction(
            ("new", "small"), (0.5, 0.5), "v", predict(ASKED, (1, 0, 0), COSTS).estimates[:2]
        )
    )
    eligible = window.outlook().eligible
    assert eligible.tolist() == [[True, True, True, False], [True, False, False, True]]


def test_the_price_of_money_changes_no_reward_and_survives_packing():
    paced = Scenario("paced", 0.5, 0.5, 0.0, cost_price=123.4)
    plain = Scenario("paced", 0.5, 0.5, 0.0)
    facts = {"quality": 0.8, "cost_usd": 0.01, "latency_s": 1.0}
    assert paced.reward(**facts) == plain.reward(**facts)
    assert scenario_from_dict(scenario_to_dict(paced)) == paced
    with pytest.raises(BadScenarioError, match="cost_price"):
        Scenario("bad", 1.0, 0.0, 0.0, cost_price=-1.0)


def test_composed_buys_less_of_a_dear_arm_the_dearer_money_is():
    """At any price the estimates are the same: money moves the choice, not what is believed."""
    policy = make_policy(PolicyConfig("composed", {"first": 2, "second": 2}))
    context = studies.study(5).bank.contexts()[0]
    priced = arms((0.1, 1.0, 30.0))
    found = [
        policy.predict(context, priced, Scenario("paced", 1.0, 0.0, 0.0, cost_price=price))
        for price in (1e-9, 1.0, 100.0, 1e4)
    ]
    dear = [p.propensity("large") for p in found]
    assert dear == sorted(dear, reverse=True)
    assert dear[0] > 0.2
    assert 0.0 < dear[-1] < 1e-3
    assert len({p.estimates for p in found}) == 1
    assert expected_usd(found[-1]) < expected_usd(found[0])


def test_a_study_with_a_budget_is_paced():
    made = studies.study(1500, policies=("composed",), budget_usd=4e-4)
    contexts = made.bank.contexts()
    kept, ignored = (
        run_task(made, Task(label, 0), contexts).windows["all"]["spend_over_budget"]
        for label in ("composed", "composed[pacer=off]")
    )
    assert 0.9 <= kept <= 1.02
    assert ignored > 1.05


def test_only_a_budget_and_a_policy_that_expects_bills_call_for_a_pacer():
    made = studies.study(20, budget_usd=1e-3)
    assert pacer_of(made, "composed[gamma=30]").config.gamma == 30.0
    assert pacer_of(made, "composed[pacer=off]") is None
    assert pacer_of(made, "linucb") is None
    assert pacer_of(studies.study(20), "composed") is None


def test_a_pacer_that_is_neither_on_nor_off_is_refused():
    made = studies.study(20, budget_usd=1e-3)
    with pytest.raises(BadStudyError, match="on or off"):
        run_task(made, Task("composed[pacer=fast]", 0), made.bank.contexts())
