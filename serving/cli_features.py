"""Commands for features."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from serving.console import out, reporting
from serving.settings import load

app = typer.Typer(no_args_is_help=True, help="Fit what features are made with.")

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")]


@app.callback()
def features() -> None:
    """Fit what features are made with."""


@app.command()
def fit(
    prompts: Annotated[Path, typer.Argument(help="Prompts: JSON lines, or one a line.")],
    to: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    config: Config = None,
) -> None:
    """Fit the projection of embeddings on your own prompts; no label is needed."""
    with reporting():
        settings = load(config)
        from serving import bootstrap  # noqa: PLC0415 - heavy, and --help is quick

        with Progress(transient=True) as bar:
            task = bar.add_task("embedding", total=None)
            n_components = bootstrap.fit_features(
                settings,
                prompts,
                to,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        out().print(f"{n_components} components written to {to}", markup=False)
        out().print(f"use it with features.projection: {to}", markup=False)
