"""A chat request, checked."""

import copy

import pytest

from serving.api.schemas import MAX_MESSAGES, parse_chat
from serving.backends.cloud_query import streamed, whole
from serving.errors import BadRequestError
from tests.scripted import NOW

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def parse(**fields):
    return parse_chat({"messages": [USER], **fields}, received_at=NOW)


def requires(**fields):
    return parse(**fields).query.requires


def test_a_plain_request_requires_nothing_and_asks_for_auto():
    chat = parse()
    assert (chat.query.requires, chat.wish.model) == (frozenset(), "auto")
    assert not chat.query.stream


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({"tools": [TOOL]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, {"images"}),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, {"audio"}),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, {"passthrough"}),
        ({"messages": [USER, {"role": "tool", "content": "4", "tool_call_id": "c"}]}, {"tools"}),
        (
            {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{}]}]},
            {"tools"},
        ),
        ({"response_format": {"type": "json_object"}}, {"json_object"}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"json_schema"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": {"type": "grammar"}}, {"passthrough"}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs"}),
        ({"logprobs": False}, set()),
        ({"n": 2}, {"n"}),
        ({"n": 1}, set()),
        ({"logit_bias": {"1": 5}}, {"logit_bias"}),
        ({"web_search_options": {}}, {"web_search"}),
        ({"field_of_2031": True}, {"passthrough"}),
        ({"field_of_2031": None}, set()),
        ({"seed": 1, "stop": "\n", "user": "u", "metadata": {"team": "x"}, "top_p": 0.5}, set()),
    ],
)
def test_what_the_fields_ask_of_an_arm(fields, needed):
    assert requires(**fields) == needed


def test_every_field_is_handed_on_as_it_came_but_for_our_own():
    body = {
        "model": "auto",
        "messages": [{**USER, "name": "ann", "x": [1]}],
        "tools": [TOOL],
        "field_of_2031": {"deep": [1, 2, {"er": None}]},
        "reasoning_effort": "low",
    }
    chat = parse_chat({**copy.deepcopy(body), "pointsman": {}}, received_at=NOW)
    assert chat.query.fields == body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [USER] * (MAX_MESSAGES + 1)}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [USER, {"role": "boss", "content": "x"}]}, "messages.1.role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
        ),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools"),
        ({"logprobs": 1}, "logprobs"),
        ({"response_format": "json"}, "response_format"),
        ({"pointsman": []}, "pointsman"),
        ({"pointsman": {"sesion_id": "a"}}, "pointsman.sesion_id"),
        ({"pointsman": {"session_id": "a\x00b"}}, "pointsman.session_id"),
        ({"pointsman": {"session_id": "a" * 129}}, "pointsman.session_id"),
        ({"pointsman": {"session_id": 5}}, "pointsman.session_id"),
        ({"pointsman": {"reference": 4}}, "pointsman.reference"),
        ({"pointsman": {"reference": " \n"}}, "pointsman.reference"),
        ({"pointsman": {"reference": "a" * 100_001}}, "pointsman.reference"),
        ({"pointsman": {"scenario": 5}}, "pointsman.scenario"),
        ({"pointsman": {"min_quality": 1.5}}, "pointsman.min_quality"),
        ({"pointsman": {"min_quality": True}}, "pointsman.min_quality"),
        ({"pointsman": {"mes": 0}}, "pointsman.mes"),
        ({"pointsman": {"mes": 0.5, "min_quality": 0.6}}, "pointsman.min_quality"),
        ({"pointsman": {"max_cost_usd": 0}}, "pointsman.max_cost_usd"),
        ({"pointsman": {"max_cost_usd": float("nan")}}, "pointsman.max_cost_usd"),
        ({"pointsman": {"max_latency_s": -1}}, "pointsman.max_latency_s"),
        ({"pointsman": {"max_latency_s": "fast"}}, "pointsman.max_latency_s"),
        ({"pointsman": {"max_latency_s": float("inf")}}, "pointsman.max_latency_s"),
        ({"pointsman": {"weights": [1, 0, 0]}}, "pointsman.weights"),
        ({"pointsman": {"weights": {}}}, "pointsman.weights"),
        ({"pointsman": {"weights": {"quality": 0.9, "cost": 0.2}}}, "pointsman.weights"),
        ({"pointsman": {"weights": {"quality": 1, "price": 0}}}, "pointsman.weights.price"),
        ({"pointsman": {"weights": {"quality": 1.1, "cost": -0.1}}}, "pointsman.weights.quality"),
        ({"pointsman": {"weights": {"cost": float("nan")}}}, "pointsman.weights.cost"),
        ({"pointsman": {"weights": {"cost": True}}}, "pointsman.weights.cost"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields, param):
    with pytest.raises(BadRequestError) as caught:
        parse(**fields)
    assert caught.value.param == param


def test_our_extras_are_read():
    chat = parse(pointsman={"scenario": "speed", "session_id": "s-1", "min_quality": 0.5})
    assert (chat.wish.scenario, chat.wish.mes) == ("speed", 0.5)
    assert chat.query.session_id == "s-1"


def test_a_reference_is_for_whoever_judges_and_no_arm_is_sent_it():
    query = parse(pointsman={"reference": "It is 4.\nOr IV."}).query
    assert query.reference == "It is 4.\nOr IV."
    for sent in (whole(query, model="m"), streamed(query, model="m", ask_usage=True)):
        assert b"It is 4" not in sent
        assert b"reference" not in sent


def test_a_request_may_bring_numbers_of_its_own():
    weights = {"quality": 0.6, "latency": 0.4}
    wish = parse(
        pointsman={"weights": weights, "mes": 1, "max_cost_usd": 0.001, "max_latency_s": 5}
    ).wish
    assert (wish.weights, wish.mes) == ((0.6, 0.0, 0.4), 1.0)
    assert (wish.max_cost_usd, wish.max_latency_s) == (0.001, 5.0)


def test_a_refusal_says_what_the_weights_came_to():
    with pytest.raises(BadRequestError, match="must sum to 1; these sum to 1"):
        parse(pointsman={"weights": {"quality": 0.9, "cost": 0.2}})


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"stream": True, "stream_options": {"include_usage": True}}, True),
        ({"stream": True}, False),
        ({"stream_options": {"include_usage": True}}, False),
    ],
)
def test_usage_is_included_only_in_streams_that_ask_for_it(fields, asked):
    assert parse(**fields).include_usage is asked
