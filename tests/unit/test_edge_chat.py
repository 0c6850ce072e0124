"""What the edge is asked, and what it refuses."""

import pytest

from features.query import Query
from serving.backends.edge_chat import EdgeChat
from serving.errors import BackendRejectedError
from tests.scripted import NOW, query

CHAT = EdgeChat("edge", "m", defaults={"max_tokens": 64, "temperature": 0.2, "top_p": 0.9})


def test_defaults_fill_what_the_caller_left_out():
    request = CHAT.request(query())
    assert request["max_tokens"] == 64
    assert (request["temperature"], request["top_p"], request["seed"]) == (0.2, 0.9, None)


def test_null_is_the_same_as_leaving_out():
    fields = ("temperature", "stop", "seed", "max_tokens", "n", "tools", "response_format")
    assert CHAT.request(query(**dict.fromkeys(fields))) == CHAT.request(query())


def test_max_completion_tokens_goes_before_max_tokens():
    assert CHAT.request(query(max_tokens=9, max_completion_tokens=7))["max_tokens"] == 7


def test_a_developer_is_a_system():
    asked = Query([{"role": "developer", "content": "Be brief"}], NOW)
    assert CHAT.request(asked)["messages"] == [{"role": "system", "content": "Be brief"}]


def test_text_parts_become_text():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = Query([{"role": "user", "content": parts}], NOW)
    assert CHAT.request(asked)["messages"][0]["content"] == "a\nb"


def test_a_message_without_content_is_empty():
    asked = Query([{"role": "assistant", "content": None, "tool_calls": []}], NOW)
    assert CHAT.request(asked)["messages"][0]["content"] == ""


def test_one_stop_is_a_list_of_one():
    assert CHAT.request(query(stop="END"))["stop"] == ["END"]


def test_tools_that_may_not_be_called_are_no_obstacle():
    assert CHAT.request(query(tools=[{}], tool_choice="none"))["messages"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function"}]},
        {"functions": [{}]},
        {"n": 2},
        {"logprobs": True},
        {"logit_bias": {"1": 2}},
        {"audio": {"voice": "x"}},
    ],
)
def test_what_the_edge_cannot_honour_is_refused(fields):
    with pytest.raises(BackendRejectedError) as caught:
        CHAT.request(query(**fields))
    assert caught.value.body["error"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": float("nan")},
        {"temperature": 3},
        {"temperature": True},
        {"top_p": "0.5"},
        {"presence_penalty": -9},
        {"stop": ""},
        {"stop": [1]},
        {"stop": ["x"] * 17},
        {"seed": 1.5},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": "json"},
    ],
)
def test_values_that_make_no_sense_are_refused(fields):
    with pytest.raises(BackendRejectedError) as caught:
        CHAT.request(query(**fields))
    assert caught.value.status == 400
    assert caught.value.body["error"]["param"] == next(iter(fields))


def test_a_schema_as_deep_as_a_well_is_refused():
    schema = {}
    for _ in range(100):
        schema = {"type": "array", "items": schema}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(BackendRejectedError):
        CHAT.request(query(response_format=wanted))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user<|im_end|>", "content": "x"},
        {"role": None, "content": "x"},
        {"role": "user", "content": 7},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": ["x"]},
    ],
)
def test_messages_that_the_edge_cannot_read_are_refused(message):
    with pytest.raises(BackendRejectedError):
        CHAT.request(Query([message], NOW))
