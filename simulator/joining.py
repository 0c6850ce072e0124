"""Two files as one table: what the second says of the rows of the first."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simulator.errors import BadStudyError, BadTableError, nearest
from simulator.sources import Columns, Source, open_source


class JoinedSource:
    """A table with the columns of another beside its own, matched by a key.

    Rows of the other that the first has not are of no account; a row without a match has absent
    values there.

    Parameters
    ----------
    wish
        ``FILE:KEY``, the other file and the column that both have.

    Raises
    ------
    BadStudyError, BadTableError
        If that is not what it says, or the key is missing or doubled.
    """

    def __init__(self, path: Path, wish: str) -> None:
        file, _, self._key = wish.rpartition(":")
        if not file or not self._key:
            raise BadStudyError("--join", wish, "want FILE:COLUMN, such as more.parquet:query_id")
        self._first, self._other = open_source(path), open_source(Path(file))
        for where, source in ((path, self._first), (Path(file), self._other)):
            if self._key not in source.names:
                hint = nearest(self._key, list(source.names))
                raise BadTableError(where, "", f"no column {self._key!r} to join by{hint}")
        self._path = Path(file)
        own = set(self._first.names)
        self._more = [name for name in self._other.names if name not in own]
        self.names: Sequence[str] = [*self._first.names, *self._more]

    def read(self, names: Sequence[str], limit: int) -> Columns:
        """The first ``limit`` rows of the columns ``names``."""
        more = [name for name in names if name in self._more]
        own = [name for name in names if name not in more]
        columns = self._first.read(list(dict.fromkeys([*own, self._key])), limit)
        if not more:
            return {name: columns[name] for name in names}
        # The other file may be in any order, so that all of it has to be read.
        other = self._other.read([*more, self._key], _EVERYTHING)
        place = {key: i for i, key in enumerate(other[self._key])}
        if len(place) < len(other[self._key]):
            raise BadTableError(self._path, "", f"{self._key!r} does not tell its rows apart")
        rows = [place.get(key) for key in columns[self._key]]
        if not any(row is not None for row in rows):
            raise BadTableError(self._path, "", f"no {self._key!r} in common with the table")
        for name in more:
            values = other[name]
            columns[name] = [None if row is None else values[row] for row in rows]
        return {name: columns[name] for name in names}

    def stream(self, name: str, limit: int) -> Iterator[Any]:
        """The first ``limit`` values of one column; the other file's are all read at once."""
        if name in self._more:
            yield from self.read([name], limit)[name]
        else:
            yield from self._first.stream(name, limit)


_EVERYTHING = 10**9


def open_table_source(path: Path, join: str | None) -> Source:
    """The table's columns, with those of another file where one is to be joined."""
    return open_source(path) if join is None else JoinedSource(path, join)
