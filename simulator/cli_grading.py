"""The study of cascades on answers that the configured models give here."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it


def collect(
    out: Annotated[Path, typer.Argument(help="JSONL file to write.")],
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings file.")] = None,
    questions: Annotated[str, typer.Option(help="builtin, or a JSONL file like it.")] = "builtin",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 24,
    repeats: Annotated[int, typer.Option(min=1, help="How often every question is asked.")] = 1,
) -> None:
    """Put questions with an answer key to the edge and the cloud arm; write a replay table.

    The rows hold the grades, bills and times of both, and the signals of the edge's answer, which
    'pointsman simulate OUT --cascade' and 'pointsman benchmarks cascade OUT' replay.
    """
    with reporting():
        from rich.console import Console
        from rich.progress import Progress

        from serving.questions import load_questions
        from serving.settings import load
        from simulator.graded_table import Asking, write_table

        asking = Asking(load_questions(questions), max_tokens, repeats)
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("asking", total=len(asking))
            work = write_table(load(config), asking, out, on_row=lambda: bar.advance(task))
            asyncio.run(work)
        typer.echo(f"{out}: {len(asking)} rows")
