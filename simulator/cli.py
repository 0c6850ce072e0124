"""Commands that replay traffic and judge policies.

What is heavy is imported by the command that needs it, so that ``--help`` is quick.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from simulator import cli_benchmarks, cli_cascade, cli_grading, cli_logs, cli_report
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - see the first lines
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(cli_logs.app)
app.add_typer(cli_report.app)
cli_benchmarks.app.command("grade")(cli_grading.collect)
cli_benchmarks.app.add_typer(cli_cascade.app)
app.add_typer(cli_benchmarks.app, name="benchmarks")


class OrderName(StrEnum):
    """In which order rows are asked."""

    shuffle = "shuffle"
    table = "table"


class EngineName(StrEnum):
    """Where runs are made."""

    local = "local"
    ray = "ray"


def _help(text: str, panel: str = "Options") -> Any:
    return typer.Option(help=text, rich_help_panel=panel)


@app.command()
def simulate(
    table: Annotated[
        str | None,
        typer.Argument(
            help="Replay table (.parquet, .csv, .jsonl), or paretobandit, paretobandit-val, "
            "paretobandit-test, synthetic. Without one: paretobandit if installed, else synthetic."
        ),
    ] = None,
    *,
    edge: Annotated[str | None, _help("Model of the edge arm.")] = None,
    cloud: Annotated[str | None, _help("Model of the cloud arm.")] = None,
    arms: Annotated[str | None, _help("Models, comma-separated, edge first, cloud last.")] = None,
    policies: Annotated[
        str | None, _help("Comma-separated, with settings: composed[gamma=30],linucb.")
    ] = None,
    scenario: Annotated[str, _help("quality, speed, economy or balanced.")] = "quality",
    weights: Annotated[str | None, _help("Weights of quality,cost,latency instead.")] = None,
    mes: Annotated[float | None, _help("Minimal expectation score, in (0, 1].")] = None,
    rounds: Annotated[int | None, _help("Queries; default: as many as rows.")] = None,
    seeds: Annotated[int, _help("Number of repetitions.")] = 1,
    seed: Annotated[int, _help("First seed.")] = 0,
    order: Annotated[OrderName, _help("Order of the rows.")] = OrderName.shuffle,
    rows: Annotated[str | None, _help("first or second (halves), or START:END.")] = None,
    fit_rows: Annotated[
        str | None,
        _help("Rows that static-domain and threshold see: cross (default), first, START:END, all."),
    ] = None,
    warm_start: Annotated[
        str | None, _help("Table that policies learn from before the first round, or 'same'.")
    ] = None,
    warm_rows: Annotated[str | None, _help("Rows of it, as --rows.")] = None,
    invert_warm: Annotated[bool, _help("Turn its scores round: a wrong warm start.")] = False,
    drift: Annotated[
        str | None, _help("What changes: a YAML file, or a scenario of the library.", "World")
    ] = None,
    feedback_rate: Annotated[float, _help("Share of answers judged.", "World")] = 1.0,
    feedback_delay: Annotated[str, _help("50 (rounds), 30s, exp:50 or exp:30s.", "World")] = "0",
    judge_noise: Annotated[float, _help("Standard deviation of judgements.", "World")] = 0.0,
    judge_bias: Annotated[float, _help("Added to every judgement.", "World")] = 0.0,
    budget_usd: Annotated[float | None, _help("US dollars a query, on average.", "World")] = None,
    latency_slo_s: Annotated[
        float | None, _help("Seconds that 95 % of answers are to keep.", "World")
    ] = None,
    quality_floor: Annotated[
        float | None, _help("Least mean judged quality, in (0, 1).", "World")
    ] = None,
    prices: Annotated[
        Path | None, _help("CSV: model, usd_per_M_in, usd_per_M_out.", "World")
    ] = None,
    price: Annotated[
        list[str] | None, _help("MODEL=IN,OUT in US dollars a million tokens.", "World")
    ] = None,
    arrivals: Annotated[
        Path | None,
        _help("Trace with a column t_s, or 'table': the edge queues.", "World"),
    ] = None,
    arrivals_speed: Annotated[float, _help("Play the trace faster.", "World")] = 1.0,
    max_rows: Annotated[int, _help("Most rows read of a table.", "World")] = 500_000,
    drop_unmeasured: Annotated[
        bool, _help("Leave out rows that a model has no score for.", "World")
    ] = False,
    cascade: Annotated[
        bool, _help("Offer the cascade of edge and cloud as an arm of its own.", "World")
    ] = False,
    join: Annotated[
        str | None, _help("FILE:COLUMN, another file with more columns of the same rows.", "World")
    ] = None,
    out: Annotated[Path | None, _help("Folder for results.json and report.html.", "Run")] = None,
    engine: Annotated[EngineName, _help("local processes, or ray.", "Run")] = EngineName.local,
    workers: Annotated[int | None, _help("Processes; default: one a core.", "Run")] = None,
    data_dir: Annotated[Path, _help("Where models and features are kept.", "Run")] = Path(
        ".pointsman"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
) -> None:
    """Drive policies through a table of prompts on a virtual clock and compare them."""
    with reporting():
        from simulator.inputs import Wishes
        from simulator.session import run_session

        wishes = Wishes(
            table=table,
            edge=edge,
            cloud=cloud,
            arms=arms,
            policies=policies,
            scenario=scenario,
            weights=weights,
            mes=mes,
            rounds=rounds,
            seeds=seeds,
            seed=seed,
            order=order.value,
            rows=rows,
            fit_rows=fit_rows,
            warm_start=warm_start,
            warm_rows=warm_rows,
            invert_warm=invert_warm,
            drift=drift,
            budget_usd=budget_usd,
            latency_slo_s=latency_slo_s,
            quality_floor=quality_floor,
            feedback_rate=feedback_rate,
            feedback_delay=feedback_delay,
            judge_noise=judge_noise,
            judge_bias=judge_bias,
            prices=prices,
            price=tuple(price or ()),
            arrivals=arrivals,
            arrivals_speed=arrivals_speed,
            max_rows=max_rows,
            drop_unmeasured=drop_unmeasured,
            cascade=cascade,
            join=join,
            data_dir=data_dir,
        )
        found = run_session(wishes, out=out, engine=engine.value, workers=workers)
        if as_json:
            typer.echo(json.dumps(found, indent=1))
        else:
            show_results(found)
            if out is not None:
                Console(stderr=True).print(f"wrote {out}/results.json and {out}/report.html")


def show_results(found: Mapping[str, Any]) -> None:
    """The second half of every policy, as a table for people."""
    title = f"{found['table']}: {' | '.join(found['arms'])}, {found['rounds']:,} rounds"
    shown = Table(title=f"{title}, {found['seeds']} seeds; second half", title_justify="left")
    columns = ("policy", "quality", "95 %", "reward", "regret", "APGR", "CPT50", "CPT80", "RCS")
    for column in (*columns, "cost $/1k", "latency s", "cloud", "spend/budget"):
        shown.add_column(column, justify="left" if column == "policy" else "right")
    for name, measured in found["policies"].items():
        m = measured["halves"][1]
        low, high = m["quality_low"], m["quality_high"]
        shown.add_row(
            name,
            f"{m['quality']:.4f}",
            f"{low:.3f}–{high:.3f}",
            f"{m['reward']:.4f}",
            f"{m['regret']:.4f}",
            *(_number(m[key]) for key in ("apgr", "cpt50", "cpt80", "rcs")),
            f"{1000 * m['cost_usd']:.4f}",
            f"{m['latency_s']:.2f}",
            f"{m.get('asked_cloud', m['share'][found['arms'][-1]]):.3f}",
            _number(m["spend_over_budget"]),
        )
    Console(highlight=False, width=None if Console().is_terminal else 180).print(shown)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
