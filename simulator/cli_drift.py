"""Studies of drift: how soon it is found, what becomes of quality and money meanwhile."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator import cli_detect
from simulator.cli_options import HOME, Cloud, DataDir, Edge, Out, Seeds, Table, Workers, below
from simulator.markdown import print_table, print_title, shown
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("detect")(cli_detect.detect)

Budgets = Annotated[str, typer.Option(help="Which of tight, moderate and loose.")]
Plot = Annotated[Path | None, typer.Option(help="Picture to write, .svg or .png.")]
BUDGETS = {"tight": 2.3e-4, "moderate": 6.6e-4, "loose": 1.9e-3}
"""Dollars a query; at these ceilings ParetoBandit (arXiv 2604.00136) reports .859, .898, .917."""
_EVERY = ",".join(BUDGETS)
_RIVALS = (
    "composed,composed-nodrift,direct,paretobandit,naive,forgetting,always-edge,always-cloud,oracle"
)
_ABLATION = (
    "composed,composed[detector=off],composed[widen=0],composed[caution=0],composed[forgetting=1],"
    "composed[guard=on],composed-nodrift,composed[pacer=dual],composed[pacer=off]"
)
_LIBRARY = "swap-unannounced,swap-announced,mix-shift,recurring"
_FREE = "composed,composed-nodrift,linucb,oracle"
_EVENTS = {
    "drop": "kind: quality, arm: {arm}, to: 0.75, start: 608, end: 1216",
    "price": "kind: price, arm: {arm}, times: 0.1, start: 608, end: 1216",
    "new-arm": "kind: arrive, arm: {arm}, start: 608",
}
"""What happens to the arm in the second phase, for each kind of protocol."""
_PHASES = {"P1": (0, 608), "P2": (608, 1216), "end of P2": (1013, 1216), "P3": (1216, 1824)}
"""The last third of the second phase has numbers of its own."""


@app.command("three-phase")
def three_phase(
    table: Table = "paretobandit-test",
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    arms: Annotated[
        str | None, typer.Option(help="Models, edge first; default: the protocol's three.")
    ] = None,
    event: Annotated[
        str, typer.Option(help="drop (to .75), price (a tenth) or new-arm, in P2.")
    ] = "drop",
    arm: Annotated[
        str | None, typer.Option(help="Model that it happens to; default: the protocol's.")
    ] = None,
    budgets: Budgets = _EVERY,
    policies: Annotated[str, typer.Option(help="Comma-separated.")] = _RIVALS,
    match: Annotated[
        str | None,
        typer.Option(help="Rivals that our first policy is run against at their own spend."),
    ] = None,
    seeds: Seeds = 20,
    workers: Workers = None,
    out: Out = None,
    plot: Plot = None,
    data_dir: DataDir = HOME,
) -> None:
    """Three phases of 608 rounds; something happens to one arm in the second, at three budgets."""
    with reporting():
        from simulator.drift_plots import draw_courses, panel_of
        from simulator.errors import BadStudyError, nearest
        from simulator.inputs import Wishes
        from simulator.session import keep, play
        from simulator.wheel import MODELS

        if event not in _EVENTS:
            raise BadStudyError("--event", event, f"unknown{nearest(event, [*_EVENTS])}")
        names = _budgets(budgets)
        rivals = _rivals(match, policies)
        kind = _kind(plot)
        panels = []
        own = edge is not None or cloud is not None
        usual = "cloud" if own or arms or event == "price" else MODELS[1]
        target = arm or usual
        with _plan(event, target) as plan:
            for name in names:
                wishes = Wishes(
                    table=table,
                    edge=edge,
                    cloud=cloud,
                    arms=arms or (None if own else ",".join(MODELS)),
                    policies=policies,
                    weights="1,0,0",
                    drift=str(plan),
                    seeds=seeds,
                    budget_usd=BUDGETS[name],
                    data_dir=data_dir,
                )
                session = play(wishes, workers=workers)
                found = keep(session, below(out, name))
                column = target if target in found["arms"] else found["arms"][-1]
                print_title(
                    found, f"{name} budget, ${BUDGETS[name]:g} a query; {event}: {column} in P2"
                )
                heads = ("P1", "P2", "P3", "P3/P1", "spend P1", "P2", "P3")
                shares = (f"share of {column} P1", "P2", "end of P2", "P3")
                print_table(("policy", *heads, *shares), _phase_rows(found, column))
                if rivals:
                    _print_matched(session, rivals, BUDGETS[name], workers)
                panels.append(
                    panel_of(session.study, session.runs, title=f"{name} budget", arm=column)
                )
        if plot is not None:
            plot.write_bytes(draw_courses(panels, kind))


def _budgets(text: str) -> list[str]:
    from simulator.errors import BadStudyError, nearest

    names = text.split(",")
    for name in names:
        if name not in BUDGETS:
            raise BadStudyError("--budgets", name, f"unknown{nearest(name, [*BUDGETS])}")
    return names


def _kind(plot: Path | None) -> str:
    from simulator.errors import BadStudyError

    if plot is not None and plot.suffix not in {".svg", ".png"}:
        raise BadStudyError("--plot", str(plot), "want a name that ends in .svg or .png")
    return "" if plot is None else plot.suffix[1:]


def _rivals(match: str | None, policies: str) -> tuple[str, ...]:
    """The rivals of ``--match``; they must be among the policies, and one of ours before them."""
    from simulator.errors import BadStudyError, nearest
    from simulator.labels import split_labels
    from simulator.roster import OURS, parse_label

    labels, rivals = split_labels(policies), split_labels(match or "")
    for name in rivals:
        if name not in labels:
            raise BadStudyError("--match", name, f"not among --policies{nearest(name, labels)}")
    if rivals and parse_label(labels[0])[0] not in OURS:
        raise BadStudyError("--policies", labels[0], f"with --match, begin with {OURS[0]}")
    return rivals


def _print_matched(
    session: Any, rivals: Sequence[str], budget_usd: float, workers: int | None
) -> None:
    from simulator.matching import match

    label = next(iter(session.runs))
    found = match(
        session.study, label, {name: session.runs[name] for name in rivals}, workers=workers
    )
    typer.echo(
        f"\n{label} with what each rival spent in each phase, same seeds: its reward less the "
        "rival's (95 %), and spend over budget, the rival's and ours\n"
    )
    names = [difference.phase for difference in next(iter(found.values()))]
    heads = (f"{names[0]}: less the rival's", *names[1:])
    spends = (f"{names[0]}: spend, rival's and ours", *names[1:])
    print_table(
        ("at the spend of", *heads, *spends),
        (
            (
                name,
                *(f"{d.reward:+.4f} ({d.low:+.4f} to {d.high:+.4f})" for d in row),
                *(f"{d.rival_usd / budget_usd:.2f}, {d.own_usd / budget_usd:.2f}" for d in row),
            )
            for name, row in found.items()
        ),
    )


@contextmanager
def _plan(event: str, arm: str) -> Iterator[Path]:
    """The protocol with its event, as a file for the time of the study."""
    import tempfile

    phases = "\n".join(
        f"  - {{name: {name}, start: {start}, end: {end}}}"
        for name, (start, end) in _PHASES.items()
    )
    happens = _EVENTS[event].format(arm=arm)
    text = f"name: {event}\nrounds: 1824\nphases:\n{phases}\nevents:\n  - {{{happens}}}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{event}.yaml"
        path.write_text(text, "utf-8")
        yield path


def _phase_rows(found: Mapping[str, Any], arm: str) -> Iterable[Sequence[str]]:
    for name, m in found["policies"].items():
        phases = {phase["name"]: phase for phase in m["phases"]}
        whole = [phases[key] for key in ("P1", "P2", "P3")]
        rewards = [phase["reward"] for phase in whole]
        yield (
            name,
            *(f"{reward:.4f}" for reward in rewards),
            f"{rewards[2] / rewards[0]:.3f}",
            *(shown(phase["spend_over_budget"], 2) for phase in whole),
            *(f"{phases[key]['share'].get(arm, 0.0):.2f}" for key in _PHASES),
        )


@app.command("drifts")
def drifts(
    table: Table = None,
    *,
    edge: Edge = None,
    cloud: Cloud = None,
    drift: Annotated[str, typer.Option(help="Of the library, comma-separated.")] = _LIBRARY,
    policies: Annotated[str, typer.Option(help="Comma-separated.")] = _FREE,
    scenario: Annotated[str, typer.Option(help="Scenario.")] = "quality",
    seeds: Seeds = 5,
    rounds: Annotated[int, typer.Option(help="Queries of a run.")] = 6000,
    workers: Workers = None,
    out: Out = None,
    plot: Plot = None,
    data_dir: DataDir = HOME,
) -> None:
    """Several drifts without a budget: first half, second half, and what the cloud's share is."""
    with reporting():
        from simulator.drift_plots import draw_courses, panel_of
        from simulator.inputs import Wishes
        from simulator.session import keep, play

        kind, panels, rows = _kind(plot), [], []
        for name in drift.split(","):
            wishes = Wishes(
                table=table,
                edge=edge,
                cloud=cloud,
                policies=policies,
                scenario=scenario,
                drift=name,
                seeds=seeds,
                rounds=rounds,
                data_dir=data_dir,
            )
            session = play(wishes, workers=workers)
            found = keep(session, below(out, name))
            rows += list(_half_rows(name, found))
            arm = session.study.arms[-1]
            panels.append(panel_of(session.study, session.runs, title=name, arm=arm))
        print_title(found, f"scenario {scenario}")
        heads = ("drift", "policy", "quality, half 1", "half 2", "reward, half 1", "half 2")
        print_table((*heads, "cloud's share, half 1", "half 2"), rows)
        if plot is not None:
            plot.write_bytes(draw_courses(panels, kind))


def _half_rows(drift: str, found: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    cloud = found["arms"][-1]
    for name, m in found["policies"].items():
        halves = m["halves"]
        numbers = (half[key] for key in ("quality", "reward") for half in halves)
        shares = (f"{half['share'][cloud]:.2f}" for half in halves)
        yield (drift, name, *(f"{number:.4f}" for number in numbers), *shares)


@app.command("ablation")
def ablation(
    *,
    budgets: Budgets = _EVERY,
    policies: Annotated[str, typer.Option(help="Comma-separated.")] = _ABLATION,
    seeds: Seeds = 20,
    workers: Workers = None,
    out: Out = None,
    data_dir: DataDir = HOME,
) -> None:
    """What each mechanism adds when an arm breaks, and costs when nothing does."""
    with reporting():
        from simulator.inputs import Wishes
        from simulator.session import run_session
        from simulator.wheel import MODELS

        found: dict[str, list[Mapping[str, Any]]] = {}
        with _plan("drop", MODELS[1]) as plan:
            for name in _budgets(budgets):
                found[name] = []
                for drift in (str(plan), None):
                    wishes = Wishes(
                        table="paretobandit-test",
                        arms=",".join(MODELS),
                        policies=policies,
                        weights="1,0,0",
                        drift=drift,
                        rounds=1824,
                        seeds=seeds,
                        budget_usd=BUDGETS[name],
                        data_dir=data_dir,
                    )
                    case = f"{name}-{'drop' if drift else 'calm'}"
                    results = run_session(wishes, out=below(out, case), workers=workers)
                    found[name].append(results["policies"])
        typer.echo(f"\nMean reward, 3 x 608 rounds, {seeds} seeds; calm: nothing drifts; cost: how")
        typer.echo("much more regret the first policy has then; spend over budget, with drift\n")
        heads = [head for name in found for head in (f"{name} P2", "P3", "calm", "cost", "spend")]
        print_table(("policy", *heads), ablation_rows(found))


def ablation_rows(
    found: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterable[Sequence[str]]:
    """One row for each policy.

    Parameters
    ----------
    found
        For each budget what the policies came to with a drift, and without one.
    """
    first, *_ = next(iter(found.values()))[0]
    for policy in next(iter(found.values()))[0]:
        cells: list[str] = []
        for drop, calm in found.values():
            phases = {phase["name"]: phase for phase in drop[policy]["phases"]}
            cells += [f"{phases[name]['reward']:.4f}" for name in ("P2", "P3")]
            cost = calm[first]["all"]["regret"] / calm[policy]["all"]["regret"] - 1.0
            cells += [f"{calm[policy]['all']['reward']:.4f}", f"{cost:+.1%}"]
            cells.append(shown(drop[policy]["all"]["spend_over_budget"], 2))
        yield (policy, *cells)
