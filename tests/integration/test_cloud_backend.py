"""The cloud backend against a real server that misbehaves in every way we know."""

import asyncio
import gzip
import json
import math
import random
import socket
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.retrying import RetryConfig
from serving.errors import (
    BackendError,
    BackendOverloadedError,
    BackendProtocolError,
    BackendRejectedError,
    BackendTimeoutError,
    BackendUnavailableError,
    SettingsError,
)
from tests.scripted import NOW, query
from tests.upstream import (
    DONE,
    STOP,
    TAIL,
    USAGE,
    WORDS,
    Reply,
    Upstream,
    chunk,
    completion,
    cut,
    event,
    refusal,
    streamed,
    whole,
)

KEY = "sk-very-secret"
QUICK = RetryConfig(backoff_s=0.01)


@asynccontextmanager
async def backend_at(base_url, **settings):
    settings = {"model": "gpt-x", "api_key": SecretStr(KEY), "retry": QUICK, **settings}
    backend = CloudBackend(
        CloudConfig(base_url=base_url, **settings),
        arm_id="cloud",
        now=lambda: NOW,
        rng=random.Random(1),
    )
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def calling(*replies, **settings):
    async with Upstream(*replies) as upstream, backend_at(upstream.base_url, **settings) as backend:
        yield upstream, backend


async def texts(backend, asked):
    async with aclosing(backend.stream(asked)) as stream:
        return [
            choice["delta"].get("content")
            async for chunk in stream
            for choice in chunk.body["choices"]
            if choice["delta"].get("content")
        ]


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


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, BackendProtocolError),
        (400, BackendRejectedError),
        (401, BackendUnavailableError),
        (402, BackendUnavailableError),
        (403, BackendUnavailableError),
        (404, BackendRejectedError),
        (408, BackendTimeoutError),
        (413, BackendRejectedError),
        (422, BackendRejectedError),
        (429, BackendOverloadedError),
        (500, BackendUnavailableError),
        (503, BackendUnavailableError),
        (504, BackendTimeoutError),
    ],
)
async def test_every_status_has_its_error(status, error):
    reply = refusal(status, headers=("location: http://127.0.0.1:1/",))
    async with calling(reply, retry=RetryConfig(most=0)) as (upstream, backend):
        with pytest.raises(error) as caught:
            await backend.complete(query())
    assert type(caught.value) is error
    assert len(upstream.requests) == 1


async def test_a_refusal_carries_the_upstreams_own_error():
    async with calling(refusal(400, "too long", code="context_length_exceeded")) as (_, backend):
        with pytest.raises(BackendRejectedError) as caught:
            await texts(backend, query())
    assert caught.value.status == 400
    assert caught.value.body["error"]["code"] == "context_length_exceeded"


async def test_a_refusal_in_another_shape_is_given_openais():
    async with calling(whole(b"nope", status=422, kind="text/plain")) as (_, backend):
        with pytest.raises(BackendRejectedError) as caught:
            await backend.complete(query())
    assert set(caught.value.body["error"]) == {"message", "type", "param", "code"}


async def test_the_key_is_in_no_error_and_no_repr():
    async with calling(refusal(400, f"bad key {KEY}")) as (_, backend):
        with pytest.raises(BackendRejectedError) as caught:
            await backend.complete(query())
        shown = f"{caught.value!r}{caught.value.body}{backend!r}{backend._config!r}"
    assert KEY not in shown


async def test_a_refused_key_shows_in_health_and_heals():
    now = [0.0]
    async with Upstream(refusal(401), whole()) as upstream:
        config = CloudConfig(upstream.base_url, "m", SecretStr(KEY))
        backend = CloudBackend(config, arm_id="cloud", clock=lambda: now[0])
        assert backend.health() == (False, "not started")
        await backend.start()
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())
        healthy, why = backend.health()
        now[0] = 60.0
        later, _ = backend.health()
        await backend.aclose()
    assert not healthy
    assert "key" in why
    assert later


@pytest.mark.parametrize("bad", [refusal(500), refusal(429), Reply("reset", raw=True)])
async def test_a_passing_failure_is_tried_again(bad):
    async with calling(bad, whole()) as (upstream, backend):
        answer = await backend.complete(query())
    assert answer.body == completion()
    assert len(upstream.requests) == 2


async def test_a_stream_that_is_lost_before_its_first_chunk_is_tried_again():
    async with calling(cut(), streamed()) as (upstream, backend):
        assert await texts(backend, query()) == ["Hel", "lo"]
    assert len(upstream.requests) == 2


async def test_a_stream_that_has_begun_is_never_tried_again():
    async with calling(cut(*WORDS), streamed()) as (upstream, backend):
        with pytest.raises(BackendUnavailableError):
            await texts(backend, query())
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_will_not_pass_is_not_tried_again(status):
    async with calling(refusal(status)) as (upstream, backend):
        with pytest.raises(BackendError):
            await backend.complete(query())
    assert len(upstream.requests) == 1


async def test_no_more_than_two_retries():
    async with calling(refusal(503)) as (upstream, backend):
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())
    assert len(upstream.requests) == 3


async def test_an_outage_is_not_multiplied():
    """40 queries, a reserve of 2 and a fifth of a retry each: at most 40 + 2 + 8 requests."""
    retry = RetryConfig(backoff_s=0.001, reserve=2.0, share=0.2)
    async with calling(refusal(503), retry=retry) as (upstream, backend):
        for _ in range(40):
            with pytest.raises(BackendUnavailableError):
                await backend.complete(query())
    assert 40 < len(upstream.requests) <= 50


@pytest.mark.parametrize("value", ["30", format_datetime(NOW + timedelta(seconds=30), usegmt=True)])
async def test_a_long_retry_after_is_told_and_not_waited_for(value):
    async with calling(refusal(429, headers=(f"retry-after: {value}",))) as (upstream, backend):
        with pytest.raises(BackendOverloadedError) as caught:
            await backend.complete(query())
    assert caught.value.retry_after_s == 30.0
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("value", ["nonsense", "nan", "-5", "1e400", ""])
async def test_a_nonsensical_retry_after_does_no_harm(value):
    reply = refusal(429, headers=(f"retry-after: {value}",))
    async with calling(reply, retry=RetryConfig(most=0)) as (_, backend):
        with pytest.raises(BackendOverloadedError) as caught:
            await backend.complete(query())
    assert math.isfinite(caught.value.retry_after_s)
    assert caught.value.retry_after_s >= 0


async def test_an_account_out_of_quota_is_the_operators_matter():
    async with calling(refusal(429, code="insufficient_quota")) as (upstream, backend):
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())
    assert len(upstream.requests) == 1


async def test_a_refused_connection_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with backend_at(f"http://127.0.0.1:{port}/v1") as backend:
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())


async def test_no_first_token_in_time_is_a_timeout():
    async with calling(Reply(30, raw=True), ttft_s=0.2) as (_, backend):
        with pytest.raises(BackendTimeoutError, match="first token"):
            await texts(backend, query())


async def test_headers_without_a_first_token_are_a_timeout_too():
    async with calling(streamed(b": ping\n\n", 30), ttft_s=0.2) as (_, backend):
        with pytest.raises(BackendTimeoutError, match="first token"):
            await texts(backend, query())


async def test_a_body_that_drips_is_cut_off_at_the_deadline():
    drips = [part for byte in b'{"choices": [' * 50 for part in (bytes([byte]), 0.02)]
    async with calling(Reply(*drips), deadline_s=0.3) as (_, backend):
        with pytest.raises(BackendTimeoutError, match="full answer"):
            await backend.complete(query())


async def test_a_stream_that_goes_on_for_ever_is_cut_off_at_the_deadline():
    words = [part for _ in range(200) for part in (event(chunk("x")), 0.02)]
    async with calling(streamed(*words), deadline_s=0.3) as (_, backend):
        with pytest.raises(BackendTimeoutError, match="full answer"):
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
