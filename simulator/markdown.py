"""Tables as the documentation has them."""

from collections.abc import Iterable, Sequence

import typer


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown; all columns but the first are numbers."""
    typer.echo("| " + " | ".join(heads) + " |")
    typer.echo("|" + "|".join("---" if i == 0 else "--:" for i in range(len(heads))) + "|")
    for row in rows:
        typer.echo("| " + " | ".join(row) + " |")
