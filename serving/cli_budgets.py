"""Commands about budgets."""

from typing import Annotated, Any

import typer

from serving.client import call
from serving.console import out, reporting, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="What may be spent, and what was.")

Url = Annotated[str, typer.Option(envvar="POINTSMAN_URL", help="Where the server is.")]
Key = Annotated[
    str | None, typer.Option(envvar="POINTSMAN_KEY", help="API key with the scope admin.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLUMNS = (
    *("name", "tag", "usd_per_query", "price", "usd_per_day", "spent_usd", "reserved_usd"),
    "resets_at",
)
_AIM_COLUMNS = ("name", "target", "price", "balance")


@app.callback()
def main() -> None:
    """What may be spent, and what was."""


@app.command()
def show(url: Url = "http://127.0.0.1:8080", key: Key = None, *, as_json: AsJson = False) -> None:
    """Every budget and objective of a running server: spent and reserved today, and prices."""
    with reporting():
        found = call(f"{url.rstrip('/')}/v1/budgets", key=key)
        if as_json:
            show_json(found)
        else:
            _show(found)


def _show(found: dict[str, Any]) -> None:
    if found["budgets"]:
        show_table("Budgets", _COLUMNS, [_row(budget) for budget in found["budgets"]])
    else:
        out().print("this server has no budgets")
    if found["objectives"]:
        show_table("Objectives", _AIM_COLUMNS, [_row(aim) for aim in found["objectives"]])


def _row(budget: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "-" if value is None else f"{value:.6g}" if isinstance(value, float) else value
        for name, value in budget.items()
    }
