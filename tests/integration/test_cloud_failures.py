"""The cloud backend against a real server that refuses, breaks down or is slow."""

import math
import socket
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
)
from tests.cloud_calls import KEY, backend_at, calling, texts
from tests.scripted import NOW, query
from tests.upstream import (
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
