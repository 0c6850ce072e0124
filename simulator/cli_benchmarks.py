"""The studies behind the tables of the documentation, each with one command.

All of them print Markdown and take ``--seeds`` and ``--rounds``, so that a short form runs in
minutes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator import cli_budget, cli_drift, cli_images, cli_mes
from simulator.cli_judge import judge as judge_study
from simulator.cli_options import (
    HOME,
    Cloud,
    DataDir,
    Edge,
    Out,
    Policies,
    Rounds,
    Seeds,
    Table,
    Workers,
    below,
)
from simulator.markdown import print_table as _print
from simulator.markdown import print_title, shown
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Studies behind the tables of the documentation.",
)
app.command("mes")(cli_mes.mes)
app.command("images")(cli_images.images)
app.add_typer(cli_drift.app)

app.command("judge")(judge_study)


@app.command("cold")
def cold(
    table: Table = None,
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    policies: Policies = None,
    scenario: Annotated[str, typer.Option(help="Scenario.")] = "quality",
    seeds: Seeds = 10,
    rounds: Rounds = None,
    workers: Workers = None,
    out: Out = None,
    data_dir: DataDir = HOME,
) -> None:
    """Every policy from nothing, bandit feedback only: first half, second half."""
    with reporting():
        from simulator.inputs import Wishes
        from simulator.session import run_session

        wishes = Wishes(
            table=table,
            edge=edge,
            cloud=cloud,
            policies=policies,
            scenario=scenario,
            seeds=seeds,
            rounds=rounds,
            data_dir=data_dir,
        )
        found = run_session(wishes, out=below(out, "cold"), workers=workers)
        print_title(found)
        heads = ("policy", "half 1", "half 2", "95 %", "APGR", "CPT50", "CPT80", "reward")
        _print((*heads, "regret", "cloud"), _cold_rows(found))


def _cold_rows(found: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    cloud = found["arms"][-1]
    for name, m in found["policies"].items():
        first, second = m["halves"]
        yield (
            name,
            f"{first['quality']:.4f}",
            f"{second['quality']:.4f}",
            f"{second['quality_low']:.4f}–{second['quality_high']:.4f}",
            *(shown(second[key], 3) for key in ("apgr", "cpt50", "cpt80")),
            f"{second['reward']:.4f}",
            f"{second['regret']:.4f}",
            f"{second['share'][cloud]:.3f}",
        )


app.command("budget")(cli_budget.budget)


@app.command("warm")
def warm(
    table: Table = None,
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    policies: Policies = "composed,direct,linucb,lints,static-domain,ridge-full",
    seeds: Seeds = 10,
    workers: Workers = None,
    out: Out = None,
    data_dir: DataDir = HOME,
) -> None:
    """Warm start on the other half: the first 500 rounds, and 2,000 rounds after a wrong one."""
    with reporting():
        from simulator.inputs import Wishes
        from simulator.session import run_session

        base = Wishes(
            table=table,
            edge=edge,
            cloud=cloud,
            policies=policies,
            rows="second",
            fit_rows="first",
            seeds=seeds,
            data_dir=data_dir,
        )
        taught = replace(base, warm_start="same", warm_rows="first")
        runs = {
            "cold, 500": replace(base, rounds=500),
            "warm, 500": replace(taught, rounds=500),
            "cold, 2000": replace(base, rounds=2000),
            "wrong, 2000": replace(taught, rounds=2000, invert_warm=True),
        }
        found = {
            n: run_session(w, out=below(out, n.replace(", ", "-")), workers=workers)
            for n, w in runs.items()
        }
        print_title(found["cold, 500"])
        _print(("policy", *(f"reward: {name}" for name in runs), "wrong / cold"), _warm_rows(found))


def _warm_rows(found: Mapping[str, Mapping[str, Any]]) -> Iterable[Sequence[str]]:
    for policy in found["cold, 500"]["policies"]:
        rewards = [result["policies"][policy]["all"]["reward"] for result in found.values()]
        yield (policy, *(f"{reward:.4f}" for reward in rewards), f"{rewards[3] / rewards[2]:.3f}")


@app.command("speed")
def speed(
    *,
    policies: Policies = "composed,direct,linucb,lints",
    rounds: Annotated[int, typer.Option(help="Of the shorter of two runs.")] = 5_000,
    repeats: Annotated[int, typer.Option(min=1, help="Of which the fastest counts.")] = 3,
    data_dir: DataDir = HOME,
) -> None:
    """Rounds a second of processor time on one core, and memory, at one and four times as many.

    Policies take turns, so that a machine that is busy for a while slows all of them.
    """
    with reporting():
        import time
        from dataclasses import replace as changed
        from resource import RUSAGE_SELF, getrusage

        from simulator.engine import Task, run_task
        from simulator.inputs import Wishes, plan_study

        study = plan_study(Wishes("synthetic", policies=policies, data_dir=data_dir))
        contexts = study.bank.contexts()
        lengths = (rounds, 4 * rounds)
        rates: dict[tuple[str, int], float] = {}
        peaks: dict[tuple[str, int], float] = {}
        for label in study.policies:
            # The first run imports what is heavy: seconds that are nobody's rounds.
            run_task(changed(study, rounds=100), Task(label, 0), contexts)
        for n in lengths * repeats:
            for label in study.policies:
                longer = changed(study, rounds=n)
                start = time.process_time()
                run_task(longer, Task(label, 0), contexts)
                rate = n / (time.process_time() - start)
                rates[label, n] = max(rate, rates.get((label, n), 0.0))
                peaks.setdefault((label, n), getrusage(RUSAGE_SELF).ru_maxrss / 1024)
        rows = []
        for label in study.policies:
            cells = [(f"{rates[label, n]:,.0f}", f"{peaks[label, n]:.0f}") for n in lengths]
            rows.append((label, *cells[0], *cells[1]))
        heads = ("policy", f"rounds/s at {rounds:,}", "peak MB", f"at {4 * rounds:,}", "peak MB")
        _print(heads, rows)


@app.command("obd")
def obd(path: Annotated[Path, typer.Argument(help="Parquet file of the Open Bandit log.")]) -> None:
    """Each of two policies that really ran, valued from the other's log."""
    with reporting():
        from simulator.obd import compare

        rows = []
        for policy, found in compare(path).items():
            for e in [{**found["on_policy"], "method": "on-policy"}, *found["off_policy"]]:
                bounds = f"{e['low']:.5f}–{e['high']:.5f}"
                rows.append((policy, e["method"], f"{e['value']:.5f}", bounds, f"{e['ess']:.0f}"))
        _print(("policy", "method", "clicks a view", "95 %", "effective n"), rows)
