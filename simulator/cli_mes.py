"""The sweep over minimal expectation scores, from easy to hard."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli_options import HOME, Cloud, DataDir, Edge, Seeds, Table, Workers
from simulator.markdown import print_table
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
_VALUES = "0.3,0.5,0.6,0.65,0.7,0.75,0.775,0.8,0.825,0.85,0.875,0.9,0.95,1"


def mes(
    table: Table = None,
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    scenario: Annotated[str, typer.Option(help="Scenario whose MES is swept.")] = "quality",
    weights: Annotated[str | None, typer.Option(help="Its weights instead.")] = None,
    values: Annotated[str, typer.Option(help="Scores in (0, 1], easy first.")] = _VALUES,
    policy: Annotated[str, typer.Option(help="What decides.")] = "composed",
    seeds: Seeds = 5,
    rounds: Annotated[int | None, typer.Option(help="Queries; default: all rows.")] = None,
    workers: Workers = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write, .svg or .png.")] = None,
    data_dir: DataDir = HOME,
) -> None:
    """Share at the edge, solved problems and RCS as more is expected of an answer."""
    with reporting():
        from simulator.errors import BadStudyError
        from simulator.inputs import Wishes, plan_study
        from simulator.mes_sweep import draw, largest_rise, sweep

        if plot is not None and plot.suffix not in {".svg", ".png"}:
            raise BadStudyError("--plot", str(plot), "want a name that ends in .svg or .png")
        wishes = Wishes(
            table=table,
            edge=edge,
            cloud=cloud,
            policies=policy,
            scenario=scenario,
            weights=weights,
            rounds=rounds,
            seeds=seeds,
            data_dir=data_dir,
        )
        scores = _scores(values)
        study = plan_study(wishes)
        found = sweep(
            study,
            [*scores, None],
            workers=workers,
            on_done=lambda score: typer.echo(f"mes {score}", err=True),
        )
        arms = " | ".join(study.arms)
        typer.echo(
            f"\n{study.table.name}: {arms}, {study.rounds:,} rounds, {seeds} seeds, {policy}, "
            f"scenario {study.scenario.name}; second half\n"
        )
        heads = ("MES", "share at the edge", "solved", "quality", "RCS", "$ / 1,000")
        print_table(
            heads,
            (
                (
                    "none" if e.mes is None else f"{e.mes:g}",
                    str(e.edge_share),
                    str(e.solved),
                    str(e.quality),
                    str(e.rcs),
                    f"{1000 * e.cost_usd.mean:.3f}",
                )
                for e in found
            ),
        )
        typer.echo(f"\nlargest rise of the edge's share on the way: {largest_rise(found[:-1]):.3f}")
        if plot is not None:
            title = f"{study.table.name}, {study.arms[0]} | {study.arms[-1]}"
            plot.write_bytes(draw(found, title, plot.suffix[1:]))


def _scores(text: str) -> list[float]:
    from simulator.errors import BadStudyError

    try:
        scores = [float(part) for part in text.split(",")]
    except ValueError:
        scores = []
    if not scores or scores != sorted(scores) or not all(0.0 < score <= 1.0 for score in scores):
        raise BadStudyError("--values", text, "want rising numbers in (0, 1], comma-separated")
    return scores
