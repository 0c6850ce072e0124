"""How the simulator's commands fail: one line on standard error, exit code 2."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from bandit.errors import PointsmanError

MISUSE = 2


@contextmanager
def reporting() -> Iterator[None]:
    """Turns our own errors into one line and an exit code."""
    # What no price is known for is said in the table's notes, once.
    logging.getLogger("serving.pricing").setLevel(logging.ERROR)
    try:
        yield
    except PointsmanError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(MISUSE) from error
