"""One serving process from its first line to its exit code."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import structlog
import uvicorn

from serving import bootstrap
from serving.app import build_app
from serving.bootstrap import Services
from serving.errors import SettingsError
from serving.keys import KeyRing, check_exposure
from serving.settings import Settings

_AFTER_DRAIN_S = 2


def serve(
    settings: Settings,
    *,
    announce: Callable[[Services, str], None],
    source: Callable[[], Settings] | None = None,
) -> int:
    """Serve until told to stop; the exit code.

    The first SIGTERM or SIGINT drains: readiness turns 503, answers on their way finish or, after
    ``server.drain_s``, end with an error in the stream. The second one stops now. SIGHUP reads the
    settings again.

    Parameters
    ----------
    announce
        Called with the services and the URL once requests are taken.
    source
        Reads the settings again; None always gives the same ones.

    Raises
    ------
    SettingsError
        If the address is taken, or open to others without any key.
    """
    check_exposure(settings.server.host, KeyRing(settings.keys_file))
    with _bound(settings) as sock, asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(_Process(settings, sock, announce, source).main())


def learn(settings: Settings) -> int:
    """Learn, and serve nothing, until told to stop; the exit code."""
    return _until_told(lambda stop: bootstrap.learn(settings, stop))


def judge(settings: Settings) -> int:
    """Judge what is in the log, and serve nothing, until told to stop; the exit code."""
    return _until_told(lambda stop: bootstrap.judge(settings, stop))


def _until_told(work: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    async def main() -> int:
        stop = asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, stop.set)
        # Whoever tells all processes to reload must not end this one.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _say_restart)
        await work(stop)
        return 0

    return asyncio.run(main())


def _say_restart() -> None:
    structlog.get_logger("pointsman").info("settings are read at the start; restart to change them")


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - not on every platform, and only a server needs it

    return uvloop.new_event_loop()


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """The port, taken before anything slow starts."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SettingsError(
            "server.port", f"cannot listen on {host}:{port} ({error.strerror})", "see --port"
        ) from error
    try:
        yield sock
    finally:
        sock.close()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which would end the process with the signal."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so."""
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class _Process:
    """State of one run: starting, serving, draining, stopping."""

    settings: Settings
    sock: socket.socket
    announce: Callable[[Services, str], None]
    source: Callable[[], Settings] | None
    server: uvicorn.Server | None = None
    services: Services | None = None
    draining: "asyncio.Task[None] | None" = None
    reloading: "asyncio.Task[None] | None" = None

    async def main(self) -> int:
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._on_signal, this)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            self.services = await bootstrap.start(self.settings, source=self.source)
        except asyncio.CancelledError:
            return 0  # told to stop while starting; bootstrap has cleaned up
        try:
            await self._serve(self.services)
        finally:
            await bootstrap.stop(self.services)
        return 0

    async def _serve(self, services: Services) -> None:
        config = uvicorn.Config(
            build_app(services),
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_AFTER_DRAIN_S,
        )
        self.server = _Server(config, on_started=lambda: self.announce(services, self._url()))
        await self.server.serve(sockets=[self.sock])

    def _url(self) -> str:
        host, port = self.sock.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _on_signal(self, main: "asyncio.Task[int] | None") -> None:
        if self.services is None or self.server is None:
            if main is not None:
                main.cancel()
        elif self.draining is None:
            self.draining = asyncio.create_task(self._drain(self.services, self.server))
        else:
            self.draining.cancel()
            self.server.force_exit = self.server.should_exit = True

    def _on_hangup(self) -> None:
        # What is still starting has just read the settings.
        if self.services is not None:
            work = self.services.reloader.reload_or_log()
            self.reloading = asyncio.create_task(work)

    async def _drain(self, services: Services, server: uvicorn.Server) -> None:
        log = structlog.get_logger("pointsman")
        log.info("draining", drain_s=services.settings.server.drain_s)
        services.draining.set()
        services.metrics.draining.set(1)
        try:
            await services.router.drain(services.settings.server.drain_s)
        finally:
            server.should_exit = True
