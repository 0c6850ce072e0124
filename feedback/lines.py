"""Connections of our own, for the statements that every query pays for.

A statement here costs a tenth of what it costs through SQLAlchemy's engine, whose pool, transaction
and result take longer than Postgres itself. Every statement is its own transaction, unless
`Line.transaction` makes one of several.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

T = TypeVar("T")
Values: TypeAlias = Sequence[Any] | Mapping[str, Any]
Connection: TypeAlias = "psycopg.AsyncConnection[dict[str, Any]]"


class Line:
    """One connection; one unit of work at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._committing = False

    @property
    def lost(self) -> bool:
        """Whether the server has gone away."""
        return self._connection.closed

    @property
    def undecided(self) -> bool:
        """Whether a transaction may have been committed, though nobody said so."""
        return self._committing

    @property
    def at_rest(self) -> bool:
        """Whether it can be used for something else."""
        return self._connection.info.transaction_status == TransactionStatus.IDLE

    async def run(self, statement: str, values: Values = ()) -> list[dict[str, Any]]:
        """The rows that ``statement`` gives; it is prepared once, so its text must not vary."""
        cursor = self._connection.cursor()
        await cursor.execute(statement.encode(), values, prepare=True)
        return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """What is run inside is committed together; an error leaves nothing of it."""
        await self._connection.execute("BEGIN")
        yield
        self._committing = True
        await self._connection.execute("COMMIT")
        self._committing = False

    async def close(self) -> None:
        """End the session; what was not committed is undone by the server."""
        await self._connection.close()


class Lines:
    """Lends lines, opened when needed. One event loop owns an instance.

    Nothing asks a line whether it is still alive before it is lent: work on a dead one is repeated.

    Parameters
    ----------
    most
        Lines that are open at once.
    """

    def __init__(self, parameters: Mapping[str, Any], *, most: int) -> None:
        self._parameters = parameters
        self._free = asyncio.Semaphore(most)
        self._idle: list[Line] = []
        self._closed = False

    async def use(self, work: Callable[[Line], Awaitable[T]], *, again: bool) -> T:
        """What ``work`` gives; it is repeated, once, if its line was dead.

        Parameters
        ----------
        again
            Whether it may be repeated even if its transaction may have been committed.
        """
        async with self._free:
            line = self._idle.pop() if self._idle else await self._open()
            try:
                return await work(line)
            except psycopg.Error:
                if not line.lost or (line.undecided and not again):
                    raise
            finally:
                await self._put_back(line)
            # A server that started anew has dropped them all.
            await self._close_idle()
            line = await self._open()
            try:
                return await work(line)
            finally:
                await self._put_back(line)

    async def aclose(self) -> None:
        """Close every line; those that are in use, when they come back."""
        self._closed = True
        await self._close_idle()

    async def _open(self) -> Line:
        connection: Connection = await psycopg.AsyncConnection.connect(
            **self._parameters, autocommit=True, row_factory=dict_row
        )
        return Line(connection)

    async def _put_back(self, line: Line) -> None:
        if self._closed or line.lost or not line.at_rest:
            await line.close()
        else:
            self._idle.append(line)

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()
