"""Connections to the decision log's database: bounded in number, in time and in what they raise."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from feedback.errors import LogUnavailableError
from feedback.lines import Line, Lines
from feedback.rows import dumps

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How the log is used.

    Attributes
    ----------
    reward_window_s
        Seconds after the decision during which feedback still teaches.
    max_votes_per_source_hour
        Votes of one source, said with one key, that count in an hour; None is any number.
    n_connections
        Most connections that are open at once, at least 2, the lead's own apart.
    timeout_s
        A call that has not ended by then fails; the server may still finish what it was doing.
    statement_timeout_s, lock_timeout_s
        The server's own limits on one statement, and on its wait for a lock.
    keep_snapshots
        As many newest snapshots are kept, and every 64th of 64 times as many.
    """

    reward_window_s: float = 7 * 86400.0
    n_connections: int = 5
    timeout_s: float = 5.0
    statement_timeout_s: float = 4.0
    lock_timeout_s: float = 2.0
    keep_snapshots: int = 500
    max_votes_per_source_hour: int | None = None


class Database:
    """Runs units of work, each on a connection of its own, each within a time.

    Whatever the driver, the pool or the network raise comes out as `LogUnavailableError`, except
    for values that the tables refuse (`DataError`, `IntegrityError`): those are the caller's.
    """

    def __init__(self, dsn: str, config: LogConfig) -> None:
        self._timeout_s = config.timeout_s
        self._abandoned: set[asyncio.Task[object]] = set()
        self._engine = _engine(dsn, config)
        _, parameters = self._engine.dialect.create_connect_args(self._engine.url)
        self._lines = Lines({**parameters, **_connect_args(config)}, most=_n_lines(config))

    async def transact(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, again: bool = True
    ) -> T:
        """Run ``work`` in one transaction; ``again``: it may be repeated if the connection died.

        Raises
        ------
        LogUnavailableError
        """

        async def unit() -> T:
            async with self._engine.begin() as connection:
                return await work(connection)

        return await self._bounded(lambda: self._retried(unit, again=again))

    async def swiftly(self, work: Callable[[Line], Awaitable[T]], *, again: bool = True) -> T:
        """Run ``work`` on a line of `feedback.lines`, which costs least.

        ``again``: it may be repeated even where a lost connection leaves open whether its
        transaction was committed.

        Raises
        ------
        LogUnavailableError
        """
        return await self._bounded(lambda: self._lines.use(work, again=again))

    async def hold(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> tuple[T, "Held"]:
        """Run ``work`` on a connection that stays open, outside of the pool.

        Raises
        ------
        LogUnavailableError
        """

        async def unit() -> tuple[T, Held]:
            connection = await self._engine.connect()
            try:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                result = await work(connection)
            except BaseException:
                await connection.invalidate()
                raise
            return result, Held(self, connection)

        return await self._bounded(unit)

    async def aclose(self) -> None:
        """Close every connection."""
        for task in tuple(self._abandoned):
            task.cancel()
        await asyncio.gather(*self._abandoned, return_exceptions=True)
        await self._lines.aclose()
        await self._engine.dispose()

    async def _retried(self, unit: Callable[[], Awaitable[T]], *, again: bool) -> T:
        try:
            return await unit()
        except DBAPIError as error:
            # A connection can die between the pool's ping and the statement; once is enough.
            if not (again and error.connection_invalidated):
                raise
            return await unit()

    async def _bounded(self, work: Callable[[], Awaitable[T]]) -> T:
        # The driver waits for a silent server even while it is being cancelled, so the caller
        # leaves and the task is left to end by itself.
        task: asyncio.Task[T] = asyncio.ensure_future(_translated(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._timeout_s)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise LogUnavailableError(f"no answer within {self._timeout_s:g} s")
        return task.result()

    def _abandon(self, task: asyncio.Task[T]) -> None:
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()


class Held:
    """A connection that is kept for what its session owns, such as an advisory lock."""

    def __init__(self, database: Database, connection: AsyncConnection) -> None:
        self._database = database
        self._connection = connection

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` on the connection.

        Raises
        ------
        LogUnavailableError
        """

        async def unit() -> T:
            return await work(self._connection)

        return await self._database._bounded(unit)  # noqa: SLF001 - same module

    async def release(self) -> None:
        """Give up what the session owns, and the connection."""

        async def unit() -> None:
            try:
                await self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
            except DBAPIError:
                await self._connection.invalidate()
            await self._connection.close()

        await self._database._bounded(unit)  # noqa: SLF001 - same module


async def _translated(work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    except (DataError, IntegrityError, psycopg.DataError, psycopg.IntegrityError):
        raise
    except DBAPIError as error:
        raise LogUnavailableError(_first_line(error.orig or error)) from error
    except (psycopg.Error, SQLAlchemyError, OSError) as error:
        raise LogUnavailableError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"[:200]


def _engine(dsn: str, config: LogConfig) -> AsyncEngine:
    return create_async_engine(
        _with_driver(dsn),
        pool_size=max(1, config.n_connections - _n_lines(config)),
        max_overflow=1,
        pool_timeout=config.timeout_s / 2,
        pool_pre_ping=True,
        pool_use_lifo=True,
        json_serializer=dumps,
        hide_parameters=True,
        connect_args=_connect_args(config),
    )


def _n_lines(config: LogConfig) -> int:
    """All but one: the engine serves what is rare."""
    return max(1, config.n_connections - 1)


def _connect_args(config: LogConfig) -> dict[str, Any]:
    milliseconds = {
        "statement_timeout": config.statement_timeout_s,
        "lock_timeout": config.lock_timeout_s,
        "idle_in_transaction_session_timeout": 2 * config.timeout_s,
    }
    options = " ".join(f"-c {name}={int(1000 * s)}" for name, s in milliseconds.items())
    return {
        "options": f"{options} -c synchronous_commit=on -c timezone=UTC",
        "connect_timeout": max(2, int(config.timeout_s)),
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
    }


def _with_driver(dsn: str) -> str:
    scheme, _, rest = dsn.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in {"postgres", "postgresql"} else dsn
