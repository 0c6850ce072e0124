"""What goes out to a real server, and what is taken for its answer."""

import asyncio
import gzip
import json
from contextlib import aclosing

import pytest

from serving.backends.cloud import CloudConfig
from serving.errors import (
    BackendError,
    BackendProtocolError,
    BackendTimeoutError,
    BackendUnavailableError,
    SettingsError,
)
from tests.cloud_calls import KEY, calling, texts
from tests.scripted import query
from tests.upstream import (
    DONE,
    STOP,
    TAIL,
    USAGE,
    WORDS,
    Reply,
    chunk,
    completion,
    cut,
    event,
    streamed,
    whole,
)


async def test_fields_go_out_as_they_came_but_for_model_and_our_extra():
    async with calling(whole()) as (upstream, backend):
        asked = query(
            "Hi", pointsman={"pin": "cloud"}, model="auto", unheard_of={"x": None}, seed=7
        )
        await backend.complete(asked)
    _, sent = upstream.requests[0]
    assert sent == {
        "messages": [{"role": "user", "content": "Hi"}],
        "model": "gpt-x",
        "unheard_of": {"x": None},
        "seed": 7,
    }


async def test_a_stream_asks_for_usage_and_keeps_other_stream_options():
    async with calling(streamed()) as (upstream, backend):
        await texts(backend, query(stream_options={"include_obfuscation": False}))
    _, sent = upstream.requests[0]
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_text_that_json_has_and_orjson_has_not_goes_out():
    async with calling(whole()) as (upstream, backend):
        await backend.complete(query("a \ud800 b", big=2**70))
    _, sent = upstream.requests[0]
    assert sent["messages"][0]["content"] == "a \ud800 b"
    assert sent["big"] == 2**70


async def test_key_and_more_headers_are_sent():
    async with calling(whole(), headers={"x-team": "a"}) as (upstream, backend):
        await backend.complete(query())
    headers, _ = upstream.requests[0]
    assert headers["authorization"] == f"bearer {KEY}"
    assert headers["x-team"] == "a"


async def test_whatever_the_upstream_says_comes_back_as_it_came():
    odd = completion(usage={"prompt_tokens": -5}, unheard_of=[1])
    async with calling(whole(odd)) as (_, backend):
        answer = await backend.complete(query())
    assert answer.body == odd


async def test_a_stream_gives_its_words_and_then_usage():
    async with calling(streamed()) as (_, backend), aclosing(backend.stream(query())) as stream:
        chunks = [chunk.body async for chunk in stream]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"] == USAGE


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((*WORDS, STOP, TAIL), id="no DONE"),
        pytest.param((*WORDS, STOP), id="no usage"),
        pytest.param((*WORDS, STOP, event("{garbage")), id="garbage after the finish reason"),
        pytest.param((*WORDS, STOP, 30), id="silence after the finish reason"),
        pytest.param((b": hi\n\n", *WORDS, b": ping\r\n\r\n", STOP, DONE), id="comments"),
        pytest.param((*(w.replace(b"\n", b"\r\n") for w in WORDS), STOP, DONE), id="CRLF"),
        pytest.param((*WORDS, STOP.rstrip()), id="no last newline"),
    ],
)
async def test_a_whole_answer_is_taken_however_untidily_it_ends(parts):
    async with calling(streamed(*parts), linger_s=0.1) as (_, backend):
        assert await texts(backend, query()) == ["Hel", "lo"]


async def test_a_whole_answer_is_taken_though_the_connection_is_lost_after_it():
    async with calling(cut(*WORDS, STOP)) as (_, backend):
        assert await texts(backend, query()) == ["Hel", "lo"]


async def test_a_reset_in_the_middle_of_an_answer_is_an_error():
    heard = asyncio.Event()
    async with (
        calling(cut(*WORDS, then=(heard, "reset"))) as (_, backend),
        aclosing(backend.stream(query())) as stream,
    ):
        for _ in WORDS:
            await anext(stream)
        heard.set()
        with pytest.raises(BackendUnavailableError):
            await anext(stream)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        pytest.param((*WORDS,), BackendProtocolError, id="cut"),
        pytest.param((*WORDS, DONE), BackendProtocolError, id="DONE without finish reason"),
        pytest.param(
            (*WORDS, event(chunk("b", index=1)), STOP, DONE),
            BackendProtocolError,
            id="second choice cut",
        ),
        pytest.param((*WORDS, 30), BackendTimeoutError, id="stall"),
        pytest.param((*WORDS, *[b": x\n\n", 0.05] * 200), BackendTimeoutError, id="only pings"),
        pytest.param((*WORDS, event("{garbage")), BackendProtocolError, id="malformed JSON"),
        pytest.param((*WORDS, event("[1]")), BackendProtocolError, id="not an object"),
        pytest.param((*WORDS, event('{"a": NaN}')), BackendProtocolError, id="NaN"),
        pytest.param((*WORDS, event({"a": 1})), BackendProtocolError, id="not a chunk"),
        pytest.param((*WORDS, event("[" * 100_000)), BackendProtocolError, id="deep"),
        pytest.param((*WORDS, b"\xff\xfe\n\n"), BackendProtocolError, id="not UTF-8"),
        pytest.param((*WORDS, b"x" * 5000), BackendProtocolError, id="endless line"),
        pytest.param((*WORDS, event(chunk("y" * 900)) * 30), BackendProtocolError, id="endless"),
        pytest.param(
            (*WORDS, event({"error": {"message": "boom"}})), BackendError, id="in-band error"
        ),
    ],
)
async def test_a_broken_stream_is_an_error_and_never_a_short_answer(parts, error):
    limits = {"stall_s": 0.3, "max_line_bytes": 4000, "max_body_bytes": 20_000}
    async with calling(streamed(*parts), **limits) as (_, backend):
        with pytest.raises(error):
            await texts(backend, query())
        assert backend.load().running == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param(whole(b"<html>hi</html>", kind="text/html"), BackendProtocolError, id="HTML"),
        pytest.param(whole(b"{nope"), BackendProtocolError, id="malformed"),
        pytest.param(whole(b"[]"), BackendProtocolError, id="not an object"),
        pytest.param(whole({"choices": []}), BackendProtocolError, id="no choices"),
        pytest.param(whole({"choices": [{"index": 0}]}), BackendProtocolError, id="no message"),
        pytest.param(whole({"error": {"message": "boom"}}), BackendError, id="in-band error"),
        pytest.param(Reply(b"garbage\r\n\r\n", raw=True), BackendProtocolError, id="not HTTP"),
        pytest.param(whole(b"x" * 30_000), BackendProtocolError, id="too long"),
        pytest.param(
            whole(
                gzip.compress(json.dumps(completion("x" * 10_000_000)).encode()),
                headers=("content-encoding: gzip",),
            ),
            BackendProtocolError,
            id="gzip bomb",
        ),
        pytest.param(
            whole(headers=("content-encoding: br",)), BackendProtocolError, id="unasked encoding"
        ),
        pytest.param(whole(b"", status=204), BackendProtocolError, id="204"),
    ],
)
async def test_what_is_no_answer_is_an_error(reply, error):
    async with calling(reply, max_body_bytes=20_000) as (_, backend):
        with pytest.raises(error):
            await backend.complete(query())


async def test_a_compressed_answer_that_nobody_asked_for_is_read_all_the_same():
    data = gzip.compress(json.dumps(completion()).encode())
    async with calling(whole(data, headers=("content-encoding: gzip",))) as (upstream, backend):
        answer = await backend.complete(query())
    assert answer.body == completion()
    assert upstream.requests[0][0]["accept-encoding"] == "identity"


async def test_html_for_a_stream_is_an_error():
    async with calling(whole(b"<html>", kind="text/html")) as (_, backend):
        with pytest.raises(BackendProtocolError):
            await texts(backend, query())


async def test_closing_a_stream_closes_the_connection_within_a_second():
    async with calling(streamed(*WORDS, 30)) as (upstream, backend):
        async with aclosing(backend.stream(query())) as stream:
            await anext(stream)
        await asyncio.wait_for(upstream.gone.wait(), 1.0)
        assert backend.load().running == 0


async def test_cancelling_before_the_first_byte_closes_the_connection_within_a_second():
    async with calling(Reply(30, raw=True)) as (upstream, backend):
        task = asyncio.create_task(backend.complete(query()))
        await asyncio.wait_for(upstream.asked.wait(), 5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.gone.wait(), 1.0)
        assert backend.load().running == 0


async def test_proxy_variables_are_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with calling(whole()) as (_, backend):
        assert (await backend.complete(query())).body == completion()


@pytest.mark.parametrize("url", ["ftp://x/v1", "example.com/v1", "http://u:p@host/v1", ""])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(SettingsError, match="base_url"):
        CloudConfig(url, "m")


def test_an_address_may_be_given_with_its_path():
    config = CloudConfig("https://host/v1/chat/completions/", "m")
    assert config.url == "https://host/v1/chat/completions"
