"""The command behind the tables of `simulator.budget_study`."""

from typing import Annotated

import typer

from simulator.cli_options import HOME, DataDir, Seeds, Table, Workers
from simulator.markdown import print_table
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
_USUAL = "2.3e-4,6.6e-4,1.9e-3"


def budget(
    table: Table = None,
    *,
    arms: Annotated[str | None, typer.Option(help="Models, edge first; default: three.")] = None,
    budgets: Annotated[str, typer.Option(help="US dollars a query, comma-separated.")] = _USUAL,
    policy: Annotated[str, typer.Option(help="What decides.")] = "composed",
    seeds: Seeds = 10,
    rounds: Annotated[int, typer.Option(help="Queries of a run; prices move in a third.")] = 3000,
    workers: Workers = None,
    data_dir: DataDir = HOME,
) -> None:
    """Spend over budget standing still, from any starting price, and when prices move tenfold."""
    with reporting():
        from simulator.budget_study import spend
        from simulator.inputs import Wishes, plan_study
        from simulator.wheel import MODELS

        amounts = _amounts(budgets)
        wishes = Wishes(
            table=table,
            arms=arms or (",".join(MODELS) if table is None else None),
            policies=policy,
            weights="1,0,0",
            rounds=rounds,
            seeds=seeds,
            data_dir=data_dir,
        )
        study = plan_study(wishes)
        arm_names = " | ".join(study.arms)
        typer.echo(f"\n{study.table.name}: {arm_names}, {rounds:,} rounds, {seeds} seeds\n")
        heads = ("budget", "case", "spend/budget", "least", "most", "P1", "P2", "P3", "quality")
        rows = []
        for name, case, found in spend(study, amounts, workers=workers):
            thirds = [sum(column) / len(column) for column in zip(*found.thirds, strict=True)]
            mean = sum(found.whole) / len(found.whole)
            numbers = (mean, min(found.whole), max(found.whole), *thirds)
            rows.append((name, case.name, *(f"{x:.3f}" for x in numbers), f"{found.quality:.4f}"))
            typer.echo(f"${name}: {case.name}", err=True)
        print_table(heads, rows)


def _amounts(text: str) -> dict[str, float]:
    from simulator.errors import BadStudyError

    try:
        return {part.strip(): float(part) for part in text.split(",")}
    except ValueError:
        want = "want US dollars, such as 0.0002,0.001"
        raise BadStudyError("--budgets", text, want) from None
