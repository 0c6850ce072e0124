"""The stand-in, as its own process."""

import asyncio
import json
import os
import signal
import time
from contextlib import aclosing

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.standin import StandIn
from serving.errors import BackendUnavailableError
from tests.scripted import query

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand_in():
    server = StandIn()
    await server.start()
    yield server
    await server.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def cloud(stand_in):
    config = CloudConfig(stand_in.base_url, "pointsman-stand-in")
    backend = CloudBackend(config, arm_id="cloud")
    await backend.start()
    yield backend
    await backend.aclose()


async def behave(stand_in, **how):
    usual = {"quality": "good", "latency_s": 0, "error_rate": 0, "status": 503}
    url = stand_in.base_url.removesuffix("/v1") + "/standin/behaviour"
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, json={**usual, **how})


async def said(cloud, text, **fields):
    answer = await cloud.complete(query(text, **fields))
    return answer.body["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("question", "right"),
    [
        ("what is 17 + 25?", "42"),
        ("9 * 9", "81"),
        ("10 - 12", "-2"),
        ("7/2", "3.5"),
        ("What is the capital of France?", "Paris"),
    ],
)
async def test_it_knows_a_few_things_and_says_what_it_is(cloud, question, right):
    assert await said(cloud, question) == f"[stand-in cloud] {right}"


async def test_when_bad_it_is_wrong_and_still_says_what_it_is(stand_in, cloud):
    await behave(stand_in, quality="bad")
    try:
        answer = await said(cloud, "what is 17 + 25?")
    finally:
        await behave(stand_in)
    assert answer.startswith("[stand-in cloud]")
    assert "42" not in answer


async def test_it_can_be_told_to_fail(stand_in, cloud):
    await behave(stand_in, error_rate=1.0, status=503)
    try:
        with pytest.raises(BackendUnavailableError):
            await said(cloud, "hello")
    finally:
        await behave(stand_in)
    assert await said(cloud, "hello")


@pytest.mark.parametrize("how", [{"quality": "ugly"}, {"error_rate": 2}, {"odd": 1}, {"status": 7}])
async def test_nonsense_behaviour_is_refused(stand_in, how):
    assert (await behave(stand_in, **how)).status_code == 400


async def test_the_openai_sdk_can_use_it(stand_in):
    async with AsyncOpenAI(base_url=stand_in.base_url, api_key="x") as client:
        ask = {"model": "any", "messages": [{"role": "user", "content": "2 + 2"}]}
        tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        tool["function"]["parameters"] = {**schema, "required": ["city"]}
        whole = await client.chat.completions.create(**ask, n=2, logprobs=True)
        called = await client.chat.completions.create(**ask, tools=[tool], tool_choice="required")
        as_json = await client.chat.completions.create(
            **ask, response_format={"type": "json_object"}
        )
        stream = await client.chat.completions.create(**ask, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        models = await client.models.list()
    assert [choice.message.content for choice in whole.choices] == ["[stand-in cloud] 4"] * 2
    assert whole.choices[0].logprobs.content
    function = called.choices[0].message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == ("look", {"city": "2 + 2"})
    assert called.choices[0].finish_reason == "tool_calls"
    assert json.loads(as_json.choices[0].message.content)["answer"] == "4"
    assert "".join(words) == "[stand-in cloud] 4"
    assert [model.id for model in models.data] == ["pointsman-stand-in"]


async def test_a_stream_ends_with_usage(cloud):
    async with aclosing(cloud.stream(query("2 + 2"))) as stream:
        chunks = [chunk.body async for chunk in stream]
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_it_comes_back_at_the_same_address_after_a_crash(stand_in, cloud):
    before, url = stand_in.pid, stand_in.base_url
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while stand_in.pid == before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    while True:
        try:
            assert await said(cloud, "2 + 2") == "[stand-in cloud] 4"
            break
        except BackendUnavailableError:
            assert time.monotonic() < deadline
    assert stand_in.base_url == url


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"messages": [1], "tools": [1], "tool_choice": "required"}']
)
async def test_bad_requests_are_refused(stand_in, body):
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(f"{stand_in.base_url}/chat/completions", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"]
