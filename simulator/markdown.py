"""Tables as the documentation has them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown; all columns but the first are numbers."""
    typer.echo("| " + " | ".join(heads) + " |")
    typer.echo("|" + "|".join("---" if i == 0 else "--:" for i in range(len(heads))) + "|")
    for row in rows:
        typer.echo("| " + " | ".join(row) + " |")


def print_title(found: Mapping[str, Any], more: str = "") -> None:
    """Print what a run was of, as its ``results.json`` has it, above its table."""
    arms = " | ".join(found["arms"])
    facts = f"{found['table']}: {arms}, {found['rounds']:,} rounds, {found['seeds']} seeds"
    typer.echo(f"\n{facts}{'; ' + more if more else ''}\n")


def shown(value: float | None, digits: int) -> str:
    """A number with so many digits after the point; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
