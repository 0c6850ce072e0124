"""Studies of drift: how soon it is found, what becomes of quality and money meanwhile."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.cli_options import HOME, Cloud, DataDir, Edge, Out, Seeds, Table, Workers, below
from simulator.markdown import print_table, print_title, shown
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
app = typer.Typer(no_args_is_help=True, add_completion=False)

BUDGETS = {"tight": 2.3e-4, "moderate": 6.6e-4, "loose": 1.9e-3}
"""Dollars a query; at these ceilings ParetoBandit (arXiv 2604.00136) reports .859, .898, .917."""
_RIVALS = (
    "composed,composed-nodrift,direct,paretobandit,naive,forgetting,always-edge,always-cloud,oracle"
)
_ABLATION = (
    "composed,composed[detector=page-hinkley],composed[detector=adwin],composed[detector=off],"
    "composed[widen=0],composed[caution=0],composed[forgetting=1],composed-nodrift"
)
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
    budgets: Annotated[str, typer.Option(help="Which of tight, moderate and loose.")] = ",".join(
        BUDGETS
    ),
    policies: Annotated[str, typer.Option(help="Comma-separated.")] = _RIVALS,
    match: Annotated[
        str | None,
        typer.Option(help="Rivals that our first policy is run against at their own spend."),
    ] = None,
    seeds: Seeds = 20,
    workers: Workers = None,
    out: Out = None,
    data_dir: DataDir = HOME,
) -> None:
    """Three phases of 608 rounds; something happens to one arm in the second, at three budgets."""
    with reporting():
        from simulator.errors import BadStudyError, nearest
        from simulator.inputs import Wishes
        from simulator.session import keep, play
        from simulator.wheel import MODELS

        if event not in _EVENTS:
            raise BadStudyError("--event", event, f"unknown{nearest(event, [*_EVENTS])}")
        for name in budgets.split(","):
            if name not in BUDGETS:
                raise BadStudyError("--budgets", name, f"unknown{nearest(name, [*BUDGETS])}")
        rivals = _rivals(match, policies)
        own = edge is not None or cloud is not None
        usual = "cloud" if own or arms or event == "price" else MODELS[1]
        target = arm or usual
        with _plan(event, target) as plan:
            for name in budgets.split(","):
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


@app.command("ablation")
def ablation(
    *,
    policies: Annotated[str, typer.Option(help="Comma-separated.")] = _ABLATION,
    seeds: Seeds = 20,
    workers: Workers = None,
    out: Out = None,
    data_dir: DataDir = HOME,
) -> None:
    """What each part of drift handling adds when an arm breaks, and costs when nothing does."""
    with reporting():
        from simulator.inputs import Wishes
        from simulator.session import run_session
        from simulator.wheel import MODELS

        rows: dict[str, list[str]] = {}
        heads = ["policy"]
        with _plan("drop", MODELS[1]) as plan:
            for name, budget in BUDGETS.items():
                for drift in (str(plan), None):
                    wishes = Wishes(
                        table="paretobandit-test",
                        arms=",".join(MODELS),
                        policies=policies,
                        weights="1,0,0",
                        drift=drift,
                        rounds=1824,
                        seeds=seeds,
                        budget_usd=budget,
                        data_dir=data_dir,
                    )
                    case = f"{name}-{'drop' if drift else 'calm'}"
                    found = run_session(wishes, out=below(out, case), workers=workers)
                    heads += [f"{name} P2", "P3"] if drift else ["calm"]
                    for policy, m in found["policies"].items():
                        phases = {phase["name"]: phase for phase in m["phases"]}
                        parts = [phases["P2"], phases["P3"]] if drift else [m["all"]]
                        cells = rows.setdefault(policy, [])
                        cells += [f"{part['reward']:.4f}" for part in parts]
        typer.echo(f"\nMean reward, 3 x 608 rounds, {seeds} seeds; calm: nothing drifts\n")
        print_table(tuple(heads), ((policy, *cells) for policy, cells in rows.items()))


@app.command("detect")
def detect(
    *,
    runs: Annotated[int, typer.Option(help="Streams with and without a change.")] = 600,
    detector: Annotated[str, typer.Option(help="both, page-hinkley or adwin.")] = "both",
    threshold: Annotated[
        float | None, typer.Option(help="Of Page-Hinkley, in standard deviations.")
    ] = None,
) -> None:
    """Judged pulls until a change of quality is found; false alarms in 2,000 pulls without one."""
    with reporting():
        from bandit.drift import DETECTORS, DetectorConfig
        from simulator.detecting import Trial, binary, graded, measure, optimal
        from simulator.errors import BadStudyError
        from simulator.wheel import MODELS, load_wheel

        if detector not in DETECTORS[:3]:
            raise BadStudyError("--detector", detector, f"want one of {', '.join(DETECTORS[:3])}")
        usual = DetectorConfig()
        config = DetectorConfig(
            name=next(name for name in DETECTORS if name == detector),
            threshold=usual.threshold if threshold is None else threshold,
        )
        draw = graded(load_wheel((MODELS[0], MODELS[1])).quality[:, 1])
        trials = [
            *(Trial(f"graded, .92 to {to:g}", draw, 0.92, to) for to in (0.85, 0.75, 0.5)),
            Trial("graded, .75 to .92", draw, 0.75, 0.92),
            *(Trial(f"binary, .92 to {to:g}", binary, 0.92, to) for to in (0.75, 0.5)),
            Trial("binary, .6 to .4", binary, 0.6, 0.4),
        ]
        rows = []
        for trial in trials:
            results = {str(detector): measure(trial, config, runs=runs)}
            if trial.draw is binary:
                results["cusum (told both rates)"] = optimal(trial, runs=runs)
            for name, found in results.items():
                cells = (f"{found.false_alarms:.1%}", f"{found.median:.0f}", f"{found.p90:.0f}")
                rows.append((trial.name, name, *cells, f"{found.missed:.1%}"))
        typer.echo(f"\n{runs} runs each, scores of {MODELS[1]}\n")
        heads = (
            "votes",
            "detector",
            "runs with a false alarm",
            "median pulls",
            "90 %",
            "not in 600",
        )
        print_table(heads, rows)
