"""Options that the studies share."""

from pathlib import Path
from typing import Annotated

import typer

Table = Annotated[str | None, typer.Argument(help="As for simulate.")]
Edge = Annotated[str | None, typer.Option(help="Model of the edge arm.")]
Cloud = Annotated[str | None, typer.Option(help="Model of the cloud arm.")]
Seeds = Annotated[int, typer.Option(help="Number of repetitions.")]
Rounds = Annotated[int | None, typer.Option(help="Queries; default: as many as rows.")]
Policies = Annotated[str | None, typer.Option(help="Comma-separated; default: all.")]
DataDir = Annotated[Path, typer.Option(help="Where models and features are kept.")]
Out = Annotated[Path | None, typer.Option(help="Folder for results, one below it for each run.")]
Workers = Annotated[int | None, typer.Option(help="Processes; default: one a core.")]

HOME = Path(".pointsman")
"""Where models and features are kept if nobody says otherwise."""


def below(out: Path | None, name: str) -> Path | None:
    """Folder of one run's results; None where none are kept."""
    return None if out is None else out / name
