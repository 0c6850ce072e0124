"""The chat endpoint on a real socket, with scripted arms behind it."""

import asyncio
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import uvicorn
from fastapi import FastAPI

from serving.api import chat, errors
from serving.keys import KeyRing
from serving.rates import RateLimiter
from serving.settings import Settings
from tests.scripted import ScriptedBackend, make_router


@asynccontextmanager
async def serving(tmp_path, log, *edge, cloud=(), **options):
    """An HTTP client of a server whose arms play the given scripts; an arm may be given whole.

    ``options`` are those of `tests.scripted.make_router`.
    """
    arms = [
        script[0]
        if script and isinstance(script[0], ScriptedBackend)
        else ScriptedBackend(arm, *script)
        for arm, script in (("edge", edge), ("cloud", cloud))
    ]
    router = make_router(*arms, log=log, **options)
    app = FastAPI()
    app.state.services = SimpleNamespace(
        router=router,
        keys=KeyRing(tmp_path / "keys.json"),
        rates=RateLimiter(),
        settings=Settings(),
        draining=asyncio.Event(),
    )
    errors.install(app)
    app.router.routes.extend(chat.routes())
    async with _listening(app) as url, httpx.AsyncClient(base_url=url, timeout=30.0) as client:
        client.app, client.arms, client.router = app, arms, router
        yield client
    await router.aclose()


@asynccontextmanager
async def _listening(app):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
