"""A cloud backend in front of a scripted upstream on loopback."""

import random
from contextlib import aclosing, asynccontextmanager

from pydantic import SecretStr

from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.retrying import RetryConfig
from tests.scripted import NOW
from tests.upstream import (
    Upstream,
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
