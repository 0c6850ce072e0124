"""Whatever it is shown, the pacer's price is a price, and its account adds up."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bandit.outlook import Outlook
from bandit.pacing import BudgetPacer, PacerConfig
from bandit.primitives import Estimate, Prediction
from bandit.utility import Scenario

utilities = st.floats(-2.0, 2.0)
costs = st.one_of(st.just(0.0), st.floats(1e-9, 10.0))
answers = st.lists(
    st.tuples(
        st.lists(st.tuples(utilities, st.one_of(st.none(), costs)), min_size=1, max_size=4), costs
    ),
    max_size=30,
)


def told(answers_, budget):
    pacer = BudgetPacer(PacerConfig(budget))
    prices = []
    for pairs, bill in answers_:
        names = tuple("abcd"[: len(pairs)])
        estimates = tuple(Estimate(None, c, None, u) for u, c in pairs)
        pmf = (1.0 / len(names),) * len(names)
        pacer.completed(Prediction(names, pmf, "v", estimates), bill)
        prices.append(pacer.priced(Scenario("asked", 1.0, 0.0, 0.0), ()).cost_price)
    return pacer, prices


@given(answers, st.floats(1e-7, 10.0))
def test_every_price_is_finite_and_the_same_story_gives_the_same_prices(story, budget):
    _, prices = told(story, budget)
    assert all(math.isfinite(p) and p > 0.0 for p in prices)
    assert prices == told(story, budget)[1]


@given(answers, st.floats(1e-7, 10.0))
def test_the_account_never_forgives_a_debt(story, budget):
    pacer, _ = told(story, budget)
    spent = math.fsum(bill for _, bill in story)
    slack = 1e-9 * (spent + budget * len(story))
    assert pacer.balance_usd <= len(story) * budget - spent + slack


@given(
    st.lists(st.lists(st.tuples(utilities, costs), min_size=3, max_size=3), min_size=1, max_size=9),
    st.floats(0.0, 1.0),
    st.floats(1.0, 1000.0),
)
def test_at_the_price_found_the_target_is_kept_where_any_price_keeps_it(rows, share, sharpness):
    values = np.array(rows)
    utility, cost = values[..., 0], values[..., 1]
    outlook = Outlook(utility, cost, np.ones(utility.shape, dtype=bool))
    high = outlook.price(-1.0, sharpness)
    target = outlook.spend(high, sharpness) * (1.0 + 1e-9)
    target += share * max(0.0, float(cost.max(axis=1).mean()) - target)
    assert outlook.spend(outlook.price(target, sharpness), sharpness) <= target * (1.0 + 1e-6)
