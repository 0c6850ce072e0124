"""Commands that measure."""

from typing import Annotated, Any

import typer

from serving.console import out, reporting, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Measure this installation on this machine.")


@app.callback()
def _group() -> None:
    """Keep ``route`` a command of its own while it is the only one."""


@app.command()
def route(
    queries: Annotated[int, typer.Option(min=30, help="Queries a length, for the stages.")] = 300,
    requests: Annotated[int, typer.Option(min=64, help="Requests a round.")] = 800,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each kind.")] = 3,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time routing: each stage, then whole requests against a direct call, at 1, 16, 64 clients."""
    with reporting():
        # ruff: noqa: PLC0415 - only this command needs it
        from serving import bench

        found = bench.run(
            queries=queries,
            requests=requests,
            rounds=rounds,
            clients=(1, 16, 64),
            tell=out(stderr=True).print,
        )
        if as_json:
            show_json(found)
            return
        stages = found["stages_ms"]
        show_table("routing one query, ms (median)", list(stages[0]), _rounded(stages))
        loads = found["load"]
        show_table("whole requests, 20-token queries", list(loads[0]), _rounded(loads))
        out().print(
            f"server: {found['server_resident_mb']:.0f} MB resident; {found['cores']} cores, "
            "shared by server, client, upstream and database"
        )


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]
