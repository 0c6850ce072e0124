"""The database's part of the composition root: a Postgres that runs, with the newest schema."""

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack

import structlog

from feedback import migrate as migrations
from feedback.errors import LogUnavailableError
from feedback.postgres import EmbeddedPostgres
from serving.errors import SettingsError
from serving.observability import redact
from serving.settings import Settings

_LOG = structlog.get_logger("pointsman")
_RETRY_S = 2.0
_WATCH_S = 1.0


async def start_database(settings: Settings, stack: AsyncExitStack) -> str:
    """DSN of a database with the newest schema; ``stack`` stops the embedded one.

    A configured database that is away is waited for in the background: queries are answered
    without it.

    Raises
    ------
    LogUnavailableError
        If the embedded Postgres does not start.
    SettingsError
        If the configured DSN is none, or the data folder cannot be used.
    """
    if settings.database.dsn is not None:
        dsn = _configured_dsn(settings)
        try:
            await asyncio.to_thread(_upgrade, dsn)
        except LogUnavailableError as error:
            _LOG.warning("database away", error=str(error), then="serving without it")
            background(stack, _upgrade_later(dsn))
        return dsn
    postgres = embedded(settings)
    # Registered first: a start that is cancelled half way is undone too.
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    dsn = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(_upgrade, dsn)
    background(stack, _keep_running(postgres))
    return dsn


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded Postgres of the data folder, not started.

    Raises
    ------
    SettingsError
        If the folder cannot be made or written.
    """
    folder = settings.postgres_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = f"{settings.database.data_dir} cannot be written ({error.strerror})"
        raise SettingsError("database.data_dir", why, "name another folder") from error
    return EmbeddedPostgres(folder)


async def _keep_running(postgres: EmbeddedPostgres) -> None:
    """Start the embedded Postgres again if it dies; nobody else looks after it."""
    while True:
        await asyncio.sleep(_WATCH_S)
        if postgres.pid is None:
            _LOG.warning("embedded Postgres is gone", then="starting it again")
            try:
                await asyncio.to_thread(postgres.start)
            except LogUnavailableError as error:
                _LOG.warning("embedded Postgres does not start", error=str(error))


def _configured_dsn(settings: Settings) -> str:
    given = settings.database.dsn.get_secret_value() if settings.database.dsn else ""
    scheme, _, rest = given.partition("://")
    if scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise SettingsError("database.dsn", "want postgresql://user@host/name")
    return f"postgresql+psycopg://{rest}"


def _upgrade(dsn: str) -> None:
    try:
        migrations.upgrade(dsn)
    except Exception as error:
        # Alembic lets through whatever the driver raises, and the driver is behind feedback.sql.
        raise LogUnavailableError(f"cannot migrate: {redact(str(error))}") from error


async def _upgrade_later(dsn: str) -> None:
    while True:
        await asyncio.sleep(_RETRY_S)
        try:
            await asyncio.to_thread(_upgrade, dsn)
        except LogUnavailableError:
            continue
        _LOG.info("database is back")
        return


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema; the embedded one is started for it.

    Raises
    ------
    LogUnavailableError
        If the database cannot be reached.
    SettingsError
        If the data folder cannot be used.
    """
    postgres = None if settings.database.dsn else embedded(settings)
    try:
        _upgrade(postgres.start() if postgres else _configured_dsn(settings))
    finally:
        if postgres:
            postgres.stop()


def background(stack: AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    """Run ``work`` beside everything else until ``stack`` ends it."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)
