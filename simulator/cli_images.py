"""What pictures tell a policy beyond the text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from simulator.cli_options import HOME, Cloud, DataDir, Edge, Seeds, Workers
from simulator.markdown import print_table
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
_MEASURES = ("quality", "reward", "regret", "apgr")


def images(
    table: Annotated[str, typer.Argument(help="Replay table with a column image_jpeg.")],
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    policies: Annotated[
        str, typer.Option(help="Comma-separated.")
    ] = "composed,ridge-full,static-domain,always-edge,always-cloud,oracle",
    scenario: Annotated[str, typer.Option(help="Scenario.")] = "quality",
    weights: Annotated[str | None, typer.Option(help="Its weights instead.")] = None,
    image_model: Annotated[
        str | None, typer.Option(help="Folder of a CLIP-like model, for a third variant.")
    ] = None,
    seeds: Seeds = 10,
    rounds: Annotated[int | None, typer.Option(help="Queries; default: all rows.")] = None,
    workers: Workers = None,
    data_dir: DataDir = HOME,
) -> None:
    """Policies that see the text alone, and the pictures too, on the same rounds."""
    with reporting():
        from simulator.engine import run_study
        from simulator.errors import BadStudyError
        from simulator.inputs import Wishes, plan_study
        from simulator.picture_study import compare, variants

        wishes = Wishes(
            table=table,
            edge=edge,
            cloud=cloud,
            policies=policies,
            scenario=scenario,
            weights=weights,
            rounds=rounds,
            seeds=seeds,
            image_model=image_model,
            data_dir=data_dir,
        )
        study = plan_study(wishes)
        if study.table.pictures is None:
            raise BadStudyError("table", table, "want a table with a column image_jpeg")
        runs = {}
        for name, variant in variants(study).items():
            typer.echo(f"{name} ...", err=True)
            runs[name] = run_study(variant, workers=workers)
        arms = " | ".join(study.arms)
        typer.echo(
            f"\n{study.table.name}: {arms}, {study.rounds:,} rounds, {seeds} seeds, scenario "
            f"{study.scenario.name}; second half, mean and 95 % over seeds\n"
        )
        print_table(("policy", "sees", *_MEASURES), _rows(runs))
        typer.echo("\nDifference to the text alone, seed by seed\n")
        print_table(("policy", "sees", *_MEASURES), _differences(compare(runs, _MEASURES)))


def _rows(runs: Mapping[str, Mapping[str, Sequence[Any]]]) -> Iterator[tuple[str, ...]]:
    from simulator.picture_study import second_half, spread

    for variant, by_policy in runs.items():
        for policy, some in by_policy.items():
            cells = [spread(second_half(some, name)) for name in _MEASURES]
            yield policy, variant, *("–" if cell is None else str(cell) for cell in cells)


def _differences(
    found: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Iterator[tuple[str, ...]]:
    for (policy, variant), cells in found.items():
        shown = ("–" if cell is None else _signed(cell) for cell in cells.values())
        yield policy, variant, *shown


def _signed(spread: Any) -> str:
    return f"{spread.mean:+.4f} ({spread.low:+.4f} to {spread.high:+.4f})"
