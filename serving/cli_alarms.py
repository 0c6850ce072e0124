"""Commands about what learning noticed."""

from typing import Annotated
from urllib.parse import urlencode

import typer

from serving.client import call
from serving.console import out, reporting, show_json

app = typer.Typer(no_args_is_help=True, help="Show what learning noticed.")

Url = Annotated[str, typer.Option(envvar="POINTSMAN_URL", help="Where the server is.")]
Key = Annotated[str | None, typer.Option(envvar="POINTSMAN_KEY", help="API key, scope admin.")]


@app.callback()
def alarms() -> None:
    """Show what learning noticed: faults, switches back, promotions."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as guard.")] = None,
    url: Url = "http://127.0.0.1:8080",
    key: Key = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest alarms of a running server, newest first."""
    with reporting():
        asked = {"limit": limit} | ({"kind": kind} if kind else {})
        found = call(f"{url.rstrip('/')}/v1/alarms?{urlencode(asked)}", key=key)
        if as_json:
            show_json(found)
            return
        for alarm in found["data"]:
            when, arm = alarm["noticed_at"][:19], alarm["arm"] or "all arms"
            told = "" if alarm["delivery"] == "none" else f" [{alarm['delivery']}]"
            line = f"{when}  {alarm['kind']}, {arm}{told}: {alarm['action']}"
            out().print(line, markup=False)
        if not found["data"]:
            out().print("no alarms")
