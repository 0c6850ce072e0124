"""How commands speak: results on standard output, the rest on standard error, errors as exit codes.

Exit codes: 0 well, 1 a problem was found, 2 a setting or argument cannot be used.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from bandit.errors import PointsmanError
from serving.errors import SettingsError

PROBLEM, MISUSE = 1, 2
_WIDE = 200
"""Columns where nobody watches: a pipe has no width, and no reason to fold."""


def out(**options: Any) -> Console:
    """Standard output; without colours where NO_COLOR is set or nobody watches."""
    return Console(highlight=False, soft_wrap=True, **options)


@contextmanager
def reporting() -> Iterator[None]:
    """Turns our own errors into one line on standard error and an exit code."""
    try:
        yield
    except PointsmanError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(MISUSE if isinstance(error, SettingsError) else PROBLEM) from error


def show_json(value: Any) -> None:
    """``value`` as JSON, for programs."""
    typer.echo(json.dumps(value, indent=2, default=str))


def show_table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """``rows`` as a table, for people; the first column is whole, for ids are copied from it."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in columns))
    watched = out().is_terminal
    out(width=None if watched else _WIDE).print(table)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
