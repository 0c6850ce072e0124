"""The conversation's state and the time."""

from datetime import UTC, datetime

import numpy as np
import pytest

from features.conversation import CONVERSATION, conversation_features, time_features
from features.query import Query

NOW = datetime(2024, 3, 6, 15, 30, tzinfo=UTC)
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}


def features(messages=(), **rest):
    found = conversation_features(Query(messages, NOW, **rest))
    assert found.shape == (len(CONVERSATION),)
    return dict(zip(CONVERSATION, found.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("has_system", {"messages": [{"role": "developer", "content": "x"}]}),
        ("has_answers", {"messages": [{"role": "assistant", "content": "x"}]}),
        ("ends_with_tool", {"messages": [{"role": "tool", "content": "x"}]}),
        ("tools", {"fields": {"tools": [{}]}}),
        ("images", {"messages": [IMAGE]}),
        ("json", {"fields": {"response_format": {"type": "json_schema"}}}),
        ("max_tokens_set", {"fields": {"max_tokens": 5}}),
        ("session", {"session_id": "s"}),
        ("stream", {"fields": {"stream": True}}),
    ],
)
def test_a_flag_is_raised_by_its_sign_only(name, given):
    assert (features(**given)[name], features()[name]) == (1, 0)


def test_many_messages_are_counted_as_a_logarithm():
    messages = [{"role": "user", "content": "x" * 1000}] * 100_000
    assert features(messages)["log_turns"] == pytest.approx(3)


@pytest.mark.parametrize("limit", [-5, 0, 10**400, True])
def test_any_limit_of_tokens_gives_a_finite_value(limit):
    assert abs(features(fields={"max_tokens": limit})["log_max_tokens"]) <= 4


@pytest.mark.parametrize("wanted", [None, [], "text", {"type": ["json_object"]}, {}])
def test_an_odd_response_format_is_no_json(wanted):
    assert features(fields={"response_format": wanted})["json"] == 0


def test_the_same_hour_of_the_week_has_the_same_time_features():
    later = NOW.replace(day=13)
    assert np.allclose(time_features(NOW), time_features(later))


def test_midnight_is_close_on_both_sides():
    before, after = NOW.replace(hour=23, minute=59), NOW.replace(day=7, hour=0, minute=0)
    assert np.abs(time_features(before) - time_features(after)).max() < 0.01
