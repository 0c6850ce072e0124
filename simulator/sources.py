"""Columns of a Parquet, CSV or JSONL file, read by name and no further than needed.

No reader ever holds more than the wanted columns of the wanted rows, so a file of many gigabytes
costs what is used of it.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from simulator.errors import BadTableError, MissingExtraError, nearest

MAX_LINE = 16 * 1024 * 1024
"""Longest line of a text table, in characters; a longer one is not a table."""

Columns = dict[str, list[Any]]


class Source(Protocol):
    """An open table: its column names, and a reader of some of them."""

    names: Sequence[str]

    def read(self, names: Sequence[str], limit: int) -> Columns:
        """The first ``limit`` rows of the columns ``names``; absent values are None."""

    def stream(self, name: str, limit: int) -> Iterator[Any]:
        """The first ``limit`` values of one column, a few in memory at a time."""


def open_source(path: Path) -> Source:
    """The reader that the file's suffix asks for.

    Raises
    ------
    BadTableError
        If the file is missing, empty, or not what its suffix says.
    """
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings) if path.suffix else ""
        raise BadTableError(path, "", "no such file" + (hint if "mean" in hint else ""))
    if path.stat().st_size == 0:
        raise BadTableError(path, "", "the file is empty")
    readers: dict[str, Callable[[Path], Source]] = {
        ".parquet": ParquetSource,
        ".csv": CsvSource,
        ".jsonl": JsonlSource,
        ".ndjson": JsonlSource,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadTableError(path, "", f"{path.suffix or 'no suffix'}; want {', '.join(readers)}")
    return reader(path)


class ParquetSource:
    """A Parquet file; only the wanted columns are decoded, batch by batch."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an optional extra
            import pyarrow.parquet as pq  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise MissingExtraError("pyarrow", "sim", "reading Parquet") from error
        self._path = path
        self._broken = (pa.ArrowException, OSError)
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except self._broken as error:
            raise BadTableError(path, "", f"not a Parquet file: {_brief(error)}") from error
        self.names: Sequence[str] = list(self._file.schema_arrow.names)

    def read(self, names: Sequence[str], limit: int) -> Columns:
        """The first ``limit`` rows of the columns ``names``."""
        columns: Columns = {name: [] for name in names}
        n = 0
        try:
            for batch in self._file.iter_batches(batch_size=4096, columns=list(names)):
                take = batch.slice(0, limit - n)
                for name in names:
                    columns[name].extend(take.column(name).to_pylist())
                n += take.num_rows
                if n >= limit:
                    break
        except self._broken as error:
            raise BadTableError(self._path, f"row {n + 1}", _brief(error)) from error
        return columns

    def stream(self, name: str, limit: int) -> Iterator[Any]:
        """The first ``limit`` values of one column, 64 in memory at a time."""
        n = 0
        try:
            for batch in self._file.iter_batches(batch_size=64, columns=[name]):
                for value in batch.column(name).to_pylist()[: limit - n]:
                    yield value
                    n += 1
                if n >= limit:
                    return
        except self._broken as error:
            raise BadTableError(self._path, f"row {n + 1}", _brief(error)) from error


class CsvSource:
    """A CSV file with a header, in UTF-8."""

    def __init__(self, path: Path) -> None:
        csv.field_size_limit(MAX_LINE)
        self._path = path
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(self._rows(file), [])
        self.names: Sequence[str] = [name.strip() for name in header]
        doubled = {name for name in self.names if self.names.count(name) > 1}
        if doubled:
            raise BadTableError(path, "header", f"column {min(doubled)!r} appears twice")

    def _rows(self, file: IO[str]) -> Iterator[list[str]]:
        try:
            yield from csv.reader(_lines(file, self._path), strict=True)
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadTableError(self._path, "", f"not a CSV file: {_brief(error)}") from error

    def read(self, names: Sequence[str], limit: int) -> Columns:
        """The first ``limit`` rows of the columns ``names``; an empty cell is None."""
        picks = [(name, self.names.index(name)) for name in names]
        columns: Columns = {name: [] for name in names}
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            rows = self._rows(file)
            next(rows, None)
            for n, row in enumerate(rows, start=1):
                if n > limit:
                    break
                if len(row) != len(self.names):
                    want = f"{len(row)} cells where the header has {len(self.names)}"
                    raise BadTableError(self._path, f"row {n}", want)
                for name, i in picks:
                    columns[name].append(row[i] or None)
        return columns

    def stream(self, name: str, limit: int) -> Iterator[Any]:
        """The first ``limit`` values of one column."""
        i = self.names.index(name)
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            rows = self._rows(file)
            next(rows, None)
            for row in islice(rows, limit):
                yield row[i] or None


class JsonlSource:
    """One JSON object a line, in UTF-8; the first hundred lines name the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        names: dict[str, None] = {}
        for n, record in enumerate(self._records(), start=1):
            names.update(dict.fromkeys(record))
            if n == 100:
                break
        self.names: Sequence[str] = list(names)

    def _records(self) -> Iterator[dict[str, Any]]:
        with self._path.open(encoding="utf-8") as file:
            n = 0
            try:
                for n, line in enumerate(_lines(file, self._path), start=1):
                    if not line.strip():
                        continue
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise BadTableError(self._path, f"line {n}", "want one JSON object a line")
                    yield record
            except (ValueError, RecursionError) as error:
                raise BadTableError(
                    self._path, f"line {n}", f"not JSON: {_brief(error)}"
                ) from error

    def read(self, names: Sequence[str], limit: int) -> Columns:
        """The first ``limit`` rows of the columns ``names``; an absent key is None."""
        columns: Columns = {name: [] for name in names}
        for n, record in enumerate(self._records(), start=1):
            if n > limit:
                break
            for name in names:
                columns[name].append(record.get(name))
        return columns

    def stream(self, name: str, limit: int) -> Iterator[Any]:
        """The first ``limit`` values of one column."""
        for record in islice(self._records(), limit):
            yield record.get(name)


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    n = 0
    while line := file.readline(MAX_LINE):
        n += 1
        if "\0" in line:
            raise BadTableError(path, f"line {n}", "NUL bytes; this is not a text table")
        if len(line) == MAX_LINE:
            raise BadTableError(path, f"line {n}", f"longer than {MAX_LINE:,} characters")
        yield line


def _brief(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
