"""Prices, and what one answer cost."""

import pytest

from serving.pricing import Price, charge, choose_price, find_price

PRICE = Price(1.0, 3.0, "config")
HONEST = {"prompt_tokens": 1000, "completion_tokens": 500}


def test_a_listed_model_has_the_price_of_short_queries():
    found = find_price("gpt-4o-mini", provider="openai")
    assert (found.price_in, found.price_out, found.source) == (0.15, 0.6, "genai-prices")


def test_an_unlisted_model_has_an_unknown_price_which_is_not_zero():
    found = find_price("no-such-model-anywhere")
    assert found == Price(None, None, "unknown")
    assert not found.known


def test_an_unknown_provider_leaves_the_price_unknown():
    assert find_price("gpt-4o", provider="nobody").source == "unknown"


def test_the_configured_price_wins():
    assert choose_price(7.0, 8.0, model="gpt-4o") == Price(7.0, 8.0, "config")


def test_half_a_configured_price_is_none():
    assert choose_price(7.0, None, model="gpt-4o").source == "genai-prices"


def test_usage_is_charged_as_counted():
    made = charge(PRICE, HONEST, chars_in=4, chars_out=4)
    assert (made.cost_usd, made.cost_source) == (pytest.approx(0.0025), "usage")


@pytest.mark.parametrize(
    "lie",
    [
        None,
        {},
        "many",
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
        {"prompt_tokens": 10, "completion_tokens": 0},
        {"prompt_tokens": 10.5, "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": True},
        {"prompt_tokens": "10", "completion_tokens": "5"},
    ],
)
def test_usage_that_cannot_be_true_is_replaced_by_an_estimate(lie):
    made = charge(PRICE, lie, chars_in=400, chars_out=41)
    assert (made.tokens_in, made.tokens_out, made.cost_source) == (100, 11, "estimate")


def test_an_unknown_price_makes_an_unknown_cost():
    made = charge(Price(), HONEST, chars_in=4, chars_out=4)
    assert (made.cost_usd, made.cost_source, made.tokens_in) == (None, "unknown", 1000)


def test_a_price_of_zero_is_known():
    assert charge(Price(0.0, 0.0, "config"), HONEST, chars_in=1, chars_out=1).cost_usd == 0.0
