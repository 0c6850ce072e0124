"""Answers in our frame."""

from serving.accounting import Meter
from serving.pricing import Charge
from serving.shaping import Shape
from tests.scripted import BODY, CHUNKS, USAGE, chunk

CHARGE = Charge(10, 5, 0.25, "usage", counted=True)


def shape(*, include_usage=False):
    return Shape("ab" * 16, created=7, include_usage=include_usage)


def test_a_completion_has_our_id_and_the_model_that_answered():
    made = shape().completion(BODY, model="configured")
    assert (made["id"], made["model"], made["created"]) == ("chatcmpl-" + "ab" * 16, "m", 7)
    assert made["usage"] == USAGE


def test_a_completion_without_a_model_gets_the_configured_one():
    assert shape().completion({**BODY, "model": ""}, model="configured")["model"] == "configured"


def test_all_chunks_share_id_time_and_model():
    framed = shape()
    made = [framed.chunk(one.body, model="c") for one in (chunk("a"), chunk("b", model="other"))]
    assert {(m["id"], m["created"], m["model"]) for m in made} == {
        ("chatcmpl-" + "ab" * 16, 7, "m")
    }


def test_usage_is_stripped_from_a_stream_that_did_not_ask():
    framed = shape()
    made = [framed.chunk(one.body, model="c") for one in CHUNKS]
    assert made[-1] is None
    assert not any("usage" in m for m in made[:-1])
    assert framed.usage_chunk(USAGE, CHARGE) is None


def test_usage_comes_last_with_its_cost_where_it_was_asked_for():
    framed = shape(include_usage=True)
    made = [framed.chunk(one.body, model="c") for one in CHUNKS]
    last = framed.usage_chunk(USAGE, CHARGE)
    assert all(m["usage"] is None for m in made[:-1])
    assert (last["choices"], last["usage"]) == ([], {**USAGE, "pointsman_cost_usd": 0.25})


def test_usage_that_nobody_counted_is_estimated():
    last = shape(include_usage=True).usage_chunk(None, Charge(3, 4, None))
    assert last["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "pointsman_cost_usd": None,
    }


def test_only_text_tool_calls_and_ends_say_something():
    meter = Meter()
    tool = {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}
    said = [meter.take(body) for body in (CHUNKS[0].body, CHUNKS[1].body, tool, CHUNKS[3].body)]
    assert said == [False, True, True, True]


def test_a_meter_counts_what_passes():
    meter = Meter(keep=True)
    for one in CHUNKS:
        meter.take(one.body)
    assert (meter.chars_out, meter.text, meter.finish_reason, meter.usage, meter.model) == (
        5,
        "Hello",
        "stop",
        USAGE,
        "m",
    )


def test_a_meter_bears_any_shape():
    meter = Meter()
    odd = [{}, {"choices": None}, {"choices": [None, 5, {}]}, {"choices": [{"delta": "x"}]}]
    assert not any(meter.take(body) for body in odd)
