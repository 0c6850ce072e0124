"""What a key may ask of a scenario."""

import json
from datetime import UTC, datetime

import pytest

from serving.errors import KeyLimitError, RateLimitError, SettingsError
from serving.keys import KeyRing
from serving.limits import NO_LIMITS, KeyLimits, check_names
from serving.rates import RateLimiter
from serving.selector import Weights, Wish

LIMITS = KeyLimits(
    ("economy", "speed"), own_numbers=False, min_mes=0.5, max_mes=0.8, max_requests_per_minute=90
)


def test_a_key_without_limits_may_ask_for_everything():
    wish = Wish("auto:quality", weights=Weights(1.0, 0.0, 0.0), mes=0.01, max_cost_usd=9.0)
    assert NO_LIMITS.admit(wish, default="balanced") is wish


def test_a_key_may_ask_for_its_scenarios_and_gets_its_first_by_default():
    assert LIMITS.admit(Wish("auto:speed"), default="balanced").named == "speed"
    assert LIMITS.admit(Wish("edge"), default="balanced").named == "economy"
    assert LIMITS.admit(Wish("auto"), default="speed").named is None


@pytest.mark.parametrize(
    ("wish", "param", "words"),
    [
        (Wish("auto:quality"), "model", "it may ask for economy, speed"),
        (Wish(scenario="quality"), "pointsman.scenario", "'quality'"),
        (Wish(weights=Weights(1.0, 0.0, 0.0)), "pointsman.weights", "of its own"),
        (Wish(max_latency_s=1.0), "pointsman.max_latency_s", "of its own"),
        (Wish(mes=0.4), "pointsman.mes", "0.5 to 0.8"),
        (Wish(mes=0.9), "pointsman.mes", "0.5 to 0.8"),
    ],
)
def test_what_lies_beyond_is_refused_by_its_name(wish, param, words):
    with pytest.raises(KeyLimitError, match=words) as caught:
        LIMITS.admit(wish, default="balanced")
    assert caught.value.param == param


@pytest.mark.parametrize("model", ["cloud", "some-model", "edge:1"])
def test_a_key_may_be_kept_from_choosing_an_arm(model):
    limits = KeyLimits(pins=False)
    assert limits.admit(Wish("auto:speed"), default="balanced").model == "auto:speed"
    with pytest.raises(KeyLimitError, match="it may ask for auto") as caught:
        limits.admit(Wish(model), default="balanced")
    assert caught.value.param == "model"
    assert "no arm of its own choice" in str(limits)


def test_limits_come_back_with_their_key(tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    token, _ = ring.create(["inference"], name="", now=lambda: datetime.now(UTC), limits=LIMITS)
    assert KeyRing(tmp_path / "keys.json").authenticate(token).limits == LIMITS


def test_keys_from_before_there_were_limits_have_none(tmp_path):
    path = tmp_path / "keys.json"
    token, _ = KeyRing(path).create(["inference"], name="", now=lambda: datetime.now(UTC))
    rows = json.loads(path.read_text())["keys"]
    for row in rows:
        del row["limits"]
    path.write_text(json.dumps({"keys": rows}))
    assert KeyRing(path).authenticate(token).limits == NO_LIMITS


@pytest.mark.parametrize(("low", "high"), [(0.8, 0.5), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1)])
def test_a_range_that_is_none_is_refused(low, high):
    with pytest.raises(SettingsError, match="not a range"):
        KeyLimits(min_mes=low, max_mes=high)


def test_a_scenario_that_there_is_not_is_refused():
    with pytest.raises(SettingsError, match="there are a, b"):
        check_names(["c"], ["a", "b"])


def test_a_key_may_use_a_minutes_requests_at_once_and_then_as_they_refill():
    now = [100.0]
    rates = RateLimiter(lambda: now[0])
    for _ in range(30):
        rates.admit("a", 30)
    with pytest.raises(RateLimitError, match="30 requests a minute") as refused:
        rates.admit("a", 30)
    assert refused.value.retry_after_s == pytest.approx(2.0)
    rates.admit("b", 30)
    now[0] += 2.0
    rates.admit("a", 30)
    with pytest.raises(RateLimitError):
        rates.admit("a", 30)
    now[0] += 3600.0
    for _ in range(30):
        rates.admit("a", 30)
    with pytest.raises(RateLimitError):
        rates.admit("a", 30)


def test_without_a_limit_nothing_is_counted():
    rates = RateLimiter(lambda: 0.0)
    for _ in range(1000):
        rates.admit("a", None)


def test_a_limit_below_one_request_is_refused():
    with pytest.raises(SettingsError, match="at least 1"):
        KeyLimits(max_requests_per_minute=0)
