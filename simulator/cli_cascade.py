"""The study of cascades: what one adds at every budget, and how good its gate is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.cli_options import HOME, Cloud, DataDir, Edge, Rounds, Seeds, Table, Workers
from simulator.markdown import print_table
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Part(StrEnum):
    """Which tables are made."""

    both = "both"
    budgets = "budgets"
    gate = "gate"


@app.command("cascade")
def cascade(
    table: Table = None,
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    join: Annotated[
        str | None, typer.Option(help="FILE:COLUMN, another file with more columns.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="CSV: model, usd_per_M_in, usd_per_M_out.")
    ] = None,
    part: Annotated[Part, typer.Option(help="Which tables.")] = Part.both,
    shares: Annotated[
        str, typer.Option(help="Budgets: of a random mix with these shares of cloud answers.")
    ] = ".1,.2,.3,.4,.5,.6,.7,.8,.9",
    seeds: Seeds = 10,
    rounds: Rounds = None,
    workers: Workers = None,
    data_dir: DataDir = HOME,
) -> None:
    """By the query, by the edge's answer, or by both, at every budget; and the gate by itself."""
    with reporting():
        from simulator.cascade_study import STAGED
        from simulator.errors import BadStudyError
        from simulator.inputs import Wishes, plan_study

        try:
            budgets = [float(text) for text in shares.split(",")]
        except ValueError:
            raise BadStudyError("--shares", shares, "want numbers such as .1,.5") from None
        if not all(0.0 < share <= 1.0 for share in budgets):
            raise BadStudyError("--shares", shares, "want numbers in (0, 1]")
        study = plan_study(
            Wishes(
                table=table or "synthetic",
                edge=edge,
                cloud=cloud,
                join=join,
                prices=prices,
                policies=",".join(STAGED),
                weights="1,0,0",
                seeds=seeds,
                rounds=rounds,
                cascade=True,
                data_dir=data_dir,
            )
        )
        arms = f"{' | '.join(study.arms)}, {study.rounds:,} rounds, {seeds} seeds"
        if part is not Part.gate:
            typer.echo(f"\n{study.table.name}: {arms}; second half; ± is a standard error\n")
            print_table(_BUDGET_HEADS, _budget_rows(study, budgets, workers))
        if part is not Part.budgets:
            _show_gate(study)


_BUDGET_HEADS = (
    "cloud budget", "pre-only", "cascade-only", "ours", "oracle", "ours less the better",
    "seconds: pre-only", "cascade-only", "ours", "cloud asked: ours", "spent / budget",
)  # fmt: skip


def _budget_rows(
    study: Any, shares: Sequence[float], workers: int | None
) -> Iterator[Sequence[str]]:
    from simulator.cascade_study import STAGED, at_budget, budget_of, oracle_quality

    for share in shares:
        found = at_budget(study, share, workers=workers)
        runs = [found[label] for label in STAGED]
        means = [run.mean(axis=0) for run in runs]
        better = max((0, 1), key=lambda i: float(means[i][0]))
        lift = runs[2][:, 0] - runs[better][:, 0]
        yield (
            f"{share:.1f}",
            *(f"{run[:, 0].mean():.4f} ± {_error(run[:, 0]):.4f}" for run in runs),
            f"{oracle_quality(study, budget_of(study, share)):.4f}",
            f"{lift.mean():+.4f} ± {_error(lift):.4f}",
            *(f"{mean[1]:.2f}" for mean in means),
            f"{means[2][2]:.2f}",
            " ".join(f"{mean[3]:.2f}" for mean in means),
        )


def _error(values: Any) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def _show_gate(study: Any) -> None:
    from simulator.gate_study import GateScore, learning, swapped

    heads = ("gate", "AUROC", "ECE", "ECE by chance alone", "AUROC of the prompt alone")

    def rows(
        stages: Callable[[Any, int], Iterable[tuple[str, GateScore]]],
    ) -> Iterator[Sequence[str]]:
        pooled: dict[str, list[GateScore]] = {}
        for seed in study.seeds:
            for name, score in stages(study, seed):
                pooled.setdefault(name, []).append(score)
        for name, scores in pooled.items():
            numbers = [[s.auroc for s in scores], [s.ece for s in scores]]
            numbers += [[s.chance_ece for s in scores], [s.prompt_auroc for s in scores]]
            yield (name, *(_spread(values) for values in numbers))

    typer.echo(f"\n{study.table.name}: the gate on {study.arms[0]}, {len(study.seeds)} orders\n")
    print_table(heads, rows(learning))
    if study.arms[-1] in study.table.signals:
        typer.echo(f"\nA model swap: {study.arms[-1]} answers in its place, with its own digest\n")
        print_table(heads, rows(swapped))


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.3f} ± {(sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5:.3f}"
