"""Who may answer, and why others may not."""

from dataclasses import replace

import pytest

from bandit.primitives import Arm
from serving.backends.base import Load
from serving.eligibility import Needs, count_chars, needs_of, sift, trouble
from serving.errors import BadRequestError
from tests.scripted import query

EDGE = Arm("edge", "edge", "small", capabilities=frozenset({"n"}), context_tokens=2048)
CLOUD = Arm("cloud", "cloud", "large", capabilities=frozenset({"*"}))
TINY = Arm("tiny", "edge", "tiny", capabilities=frozenset({"tools"}), context_tokens=100)
ARMS = (EDGE, CLOUD)


def ids(eligibility):
    return [arm.arm_id for arm in eligibility.arms]


def test_every_arm_may_answer_a_plain_query():
    assert ids(sift(ARMS, Needs(), troubles={})) == ["edge", "cloud"]


def test_an_arm_without_the_capability_is_masked_with_its_name():
    found = sift(ARMS, Needs(frozenset({"tools", "n"})), troubles={})
    assert (ids(found), found.masked) == (["cloud"], {"edge": "capability:tools"})


def test_an_arm_with_too_little_room_is_masked():
    found = sift(ARMS, Needs(tokens=2049), troubles={})
    assert found.masked == {"edge": "context_length"}


def test_a_query_that_fits_exactly_is_not_masked():
    assert ids(sift(ARMS, Needs(tokens=2048), troubles={})) == ["edge", "cloud"]


def test_an_arm_in_trouble_is_masked_with_its_trouble():
    found = sift(ARMS, Needs(), troubles={"cloud": "breaker_open"})
    assert (ids(found), found.masked) == (["edge"], {"cloud": "breaker_open"})


def test_an_arm_where_the_query_alone_costs_too_much_is_masked():
    dear = replace(CLOUD, price_in=10.0)
    needs = needs_of(query("a" * 4000), 4000, max_cost_usd=0.009)
    assert sift((EDGE, dear), needs, troubles={}).masked == {"cloud": "max_cost"}
    assert sift((EDGE, dear), replace(needs, max_cost_usd=0.011), troubles={}).masked == {}


def test_a_query_that_no_arm_can_answer_for_so_little_is_refused():
    needs = needs_of(query(), 4000, max_cost_usd=1e-6)
    with pytest.raises(BadRequestError, match="cloud: max_cost"):
        sift((replace(CLOUD, price_in=10.0),), needs, troubles={})


def test_an_arm_with_a_longer_queue_than_the_caller_waits_is_masked_while_there_is_another():
    busy = replace(EDGE, features={"queue_s": 4.0})
    needs = needs_of(query(), 10, max_wait_s=3.0)
    assert sift((busy, CLOUD), needs, troubles={}).masked == {"edge": "max_latency"}
    assert sift((busy,), needs, troubles={}).bypassed


def test_trouble_is_overlooked_when_nothing_else_is_left():
    found = sift(ARMS, Needs(), troubles={"edge": "unhealthy", "cloud": "breaker_open"})
    assert (ids(found), found.bypassed) == (["edge", "cloud"], True)


def test_trouble_of_the_only_able_arm_is_overlooked():
    found = sift(ARMS, Needs(frozenset({"tools"})), troubles={"cloud": "overloaded"})
    assert (ids(found), found.masked) == (["cloud"], {"edge": "capability:tools"})


def test_inability_is_never_overlooked():
    with pytest.raises(BadRequestError, match="capability:images") as caught:
        sift((EDGE, TINY), Needs(frozenset({"images"})), troubles={})
    assert caught.value.code == "unsupported"


def test_a_query_too_long_for_every_arm_has_openais_code():
    with pytest.raises(BadRequestError) as caught:
        sift((EDGE, TINY), Needs(tokens=5000), troubles={})
    assert caught.value.code == "context_length_exceeded"


def test_a_named_tier_masks_the_others():
    found = sift((*ARMS, TINY), Needs(), troubles={}, only=frozenset({"edge", "tiny"}))
    assert (ids(found), found.masked) == (["edge", "tiny"], {"cloud": "pin"})


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"healthy": False, "breaker_open": True}, "unhealthy"),
        ({"healthy": True, "breaker_open": True}, "breaker_open"),
        ({"healthy": True, "breaker_open": False}, "overloaded"),
    ],
)
def test_the_gravest_trouble_is_named(state, why):
    assert trouble(Load(wait_s=31.0), max_wait_s=30.0, **state) == why


def test_an_arm_without_trouble_has_none():
    assert trouble(Load(wait_s=30.0), healthy=True, breaker_open=False, max_wait_s=30.0) is None


def test_room_is_counted_for_query_and_answer():
    asked = query("x" * 400, max_tokens=50)
    assert needs_of(asked, count_chars(asked)).tokens == 150


def test_images_and_tools_take_room():
    plain = query([{"type": "text", "text": "abcd"}])
    rich = query(
        [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {"url": "u"}}],
        tools=[{"type": "function"}],
    )
    assert count_chars(plain) == 4
    assert count_chars(rich) > 4000
