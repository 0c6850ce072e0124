"""OpenAI's own Python SDK against a running server."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel, Field

from tests.running import until

HELLO = [{"role": "user", "content": "What is 17 + 25?"}]
COUNT = [{"role": "user", "content": "Write all the numbers from 1 to 500, one per line."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Told(BaseModel):
    """What the stand-in says when JSON is asked for."""

    answer: str
    source: str = Field(alias="from")


def options(server):
    return {
        "base_url": f"{server.base_url}/v1",
        "api_key": "none",
        "max_retries": 0,
        "timeout": 60.0,
    }


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(**options(server)) as client:
        yield client


@pytest.fixture(scope="module")
def chat(client):
    return client.chat.completions


def create(chat, model="auto", messages=HELLO, **fields):
    return chat.create(model=model, messages=messages, **{"max_tokens": 8, **fields})


def headers_of(chat, **fields):
    return create(chat.with_raw_response, **fields).headers


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_create_answers_with_the_model_that_answered(chat, client):
    answer = create(chat)
    assert answer.id.startswith("chatcmpl-")
    assert answer.model in {model.id for model in client.models.list()}
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_raw_responses_show_what_was_decided(chat):
    raw = create(chat.with_raw_response)
    found = {name: raw.headers[f"x-pointsman-{name}"] for name in ("arm", "reason", "logged")}
    assert found["arm"] in ("edge", "cloud")
    assert found["reason"] in ("policy", "explore")
    assert found["logged"] == "true"
    assert 0.0 < float(raw.headers["x-pointsman-propensity"]) <= 1.0
    assert float(raw.headers["x-pointsman-cost-usd"]) >= 0.0
    assert float(raw.headers["x-pointsman-overhead-ms"]) > 0.0
    assert raw.headers["x-pointsman-decision-id"][-32:] == raw.parse().id[-32:]


@pytest.mark.parametrize("model", ["auto", "edge", "cloud"])
def test_streams_have_one_id_a_text_and_a_finish_reason(chat, model):
    chunks = list(create(chat, model, stream=True))
    assert text_of(chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] in (
        ["stop"],
        ["length"],
    )
    assert all(c.usage is None for c in chunks)


@pytest.mark.parametrize("model", ["edge", "cloud"])
def test_usage_comes_with_the_last_chunk_when_asked_for(chat, model):
    *chunks, last = create(chat, model, stream=True, stream_options={"include_usage": True})
    assert all(c.usage is None for c in chunks)
    assert (last.choices, last.usage.total_tokens > 0) == ([], True)
    assert last.usage.model_extra["pointsman_cost_usd"] >= 0.0


def test_tools_reach_the_arm_that_can_call_them(chat):
    raw = create(chat.with_raw_response, tools=[TOOL], tool_choice="required")
    call = raw.parse().choices[0].message.tool_calls[0]
    assert (raw.headers["x-pointsman-arm"], raw.headers["x-pointsman-reason"]) == ("cloud", "mask")
    assert (call.function.name, list(json.loads(call.function.arguments))) == ("look_up", ["city"])


def test_tool_calls_are_streamed_and_put_together_by_the_sdk(chat):
    with chat.stream(model="auto", messages=HELLO, tools=[TOOL], tool_choice="required") as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].message.tool_calls[0].function.name == "look_up"
    assert answer.choices[0].finish_reason == "tool_calls"


def test_structured_answers_are_parsed(chat):
    answer = chat.parse(model="cloud", messages=HELLO, response_format=Told)
    assert "42" in answer.choices[0].message.parsed.answer


def test_several_choices_are_given(chat):
    answer = create(chat, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]


def test_logprobs_are_given(chat):
    answer = create(chat, logprobs=True)
    assert answer.choices[0].logprobs.content


def test_json_objects_are_given(chat):
    answer = create(chat, "cloud", response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content)


@pytest.mark.parametrize("model", ["edge", "cloud", "smollm2-135m-instruct", "pointsman-stand-in"])
def test_a_named_arm_or_model_is_a_pin(chat, model):
    raw = create(chat.with_raw_response, model)
    assert raw.headers["x-pointsman-reason"] == "pin"
    assert model in (raw.headers["x-pointsman-arm"], raw.parse().model)


@pytest.mark.parametrize(
    "fields", [{"model": "auto:speed"}, {"extra_body": {"pointsman": {"scenario": "speed"}}}]
)
def test_a_scenario_is_asked_for(chat, client, fields):
    decision_id = headers_of(chat, **fields)["x-pointsman-decision-id"]
    assert client.get(f"/decisions/{decision_id}", cast_to=object)["scenario"]["name"] == "speed"


def test_models_are_listed_and_retrieved(client):
    names = [model.id for model in client.models.list()]
    assert {"auto", "auto:balanced", "edge", "cloud"} <= set(names)
    assert all(client.models.retrieve(name).id == name for name in names)


def test_an_unknown_model_is_not_found(chat):
    with pytest.raises(openai.NotFoundError, match="auto:balanced") as caught:
        create(chat, "gpt-9")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        ({"n": 100}, "n"),
        ({"temperature": 3.0}, "temperature"),
        ({"extra_body": {"pointsman": {"senario": "speed"}}}, "pointsman.senario"),
    ],
)
def test_a_bad_request_names_its_field(chat, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        create(chat, **fields)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_what_the_pinned_arm_cannot_do_is_refused(chat):
    with pytest.raises(openai.BadRequestError, match="tools"):
        create(chat, "edge", tools=[TOOL])


def test_a_query_too_long_for_the_edge_goes_to_the_cloud(chat):
    long = [{"role": "user", "content": "word " * 10_000}]
    assert headers_of(chat, messages=long)["x-pointsman-arm"] == "cloud"
    with pytest.raises(openai.BadRequestError) as caught:
        create(chat, "edge", long)
    assert caught.value.code == "context_length_exceeded"


def test_a_value_out_of_range_is_unprocessable(chat, client):
    body = {"decision_id": create(chat).id, "metric": "judge", "value": 7}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.post("/feedback", body=body, cast_to=object)
    assert caught.value.param == "value"


def test_without_a_key_a_locked_server_says_so(locked):
    with (
        openai.OpenAI(**options(locked)) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        create(client.chat.completions)
    assert caught.value.code == "invalid_api_key"


def test_an_answer_is_judged_by_its_id(chat, client):
    body = {"decision_id": create(chat).id, "metric": "thumbs", "value": "up"}
    assert client.post("/feedback", body=body, cast_to=object)["will_apply"] is True


def test_a_stream_that_is_closed_stops_the_edge(chat, client):
    stream = create(chat, "edge", COUNT, stream=True, max_tokens=2000, temperature=0)
    decision_id = stream.response.headers["x-pointsman-decision-id"]
    next(iter(stream))
    stream.close()

    def failure():
        outcome = client.get(f"/decisions/{decision_id}", cast_to=object)["outcome"]
        return outcome and outcome["failure"]

    assert until(failure) == "cancelled"


async def test_the_async_client_answers_many_at_once(server):
    async with openai.AsyncOpenAI(**options(server)) as client:
        answers = await asyncio.gather(
            *(create(client.chat.completions, "cloud") for _ in range(8))
        )
    assert len({answer.id for answer in answers}) == 8


async def test_the_async_client_streams(server):
    async with openai.AsyncOpenAI(**options(server)) as client:
        stream = await create(client.chat.completions, "cloud", stream=True)
        assert text_of([chunk async for chunk in stream])
