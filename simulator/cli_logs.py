"""Commands that judge policies from our own decision log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serving.console import show_json
from serving.settings import Settings, load
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the embedded database.")]
Since = Annotated[str | None, typer.Option(help="Decisions from this moment on (ISO 8601).")]
Until = Annotated[str | None, typer.Option(help="Decisions before this moment.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ScenarioName = Annotated[str | None, typer.Option(help="Reward by this scenario instead.")]


@app.command()
def evaluate(
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            help="logged, always:ARM, scenario:NAME, explore:gamma=G,floor=F, "
            "snapshot:VERSION or snapshot:latest; may be repeated."
        ),
    ] = None,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    scenario: ScenarioName = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", "--scenario-weights", help="Weights of quality,cost,latency instead."
        ),
    ] = None,
    mes: Annotated[float | None, typer.Option(help="Minimal expectation score instead.")] = None,
    scenarios: Annotated[
        Path | None, typer.Option(help="YAML file with more scenarios, as in the settings.")
    ] = None,
    floor: Annotated[float | None, typer.Option(help="Floor the log was written with.")] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Value policies from the log, without running them: off-policy estimates with intervals.

    The log is scored by any scenario, also one that did not exist when it was written; then come
    problem-solving probability, share at the edge, cost advantage, latency and RCS for each.
    """
    with reporting():
        from simulator.candidates import check_arms
        from simulator.composite import composites
        from simulator.evaluate import EvaluationConfig
        from simulator.evaluate import evaluate as value
        from simulator.evidence import arms_of, records_from
        from simulator.logs import Period, named_candidates, parse_moment, read_events, with_log
        from simulator.rescoring import ScenarioWish

        settings = settings_of(config, data_dir)
        wish = ScenarioWish(scenario, weights, mes, scenarios)
        known = wish.known(settings.known_scenarios)
        asked = wish.choose(known, settings.scenario)
        period = Period(parse_moment("--since", since), parse_moment("--until", until))
        names = candidate or ["logged", *(f"always:{arm.id}" for arm in settings.arms)]

        async def work(log: Any) -> Any:
            found = await named_candidates(log, names, scenarios=known)
            return found, await read_events(log, period)

        candidates, events = with_log(settings, work)
        chosen = EvaluationConfig(
            scenario=asked,
            floor=settings.policy.floor if floor is None else floor,
        )
        records = records_from(events)
        check_arms(candidates, {arm.id for arm in settings.arms} | arms_of(records))
        scored = [*known.values()] if asked is None else [asked]
        reports = [
            {
                **value(records, one, config=chosen).to_dict(),
                "scenarios": [c.to_dict() for c in composites(records, one, scored)],
            }
            for one in candidates
        ]
        if as_json:
            show_json(reports)
        else:
            for report in reports:
                _show(report)
            _show_scenarios(reports)


@app.command()
def replay(
    policies: Annotated[
        str, typer.Option(help="Learning policies: composed, direct, linucb, lints, random.")
    ] = "composed,direct,linucb,lints,random",
    *,
    config: Config = None,
    data_dir: DataDir = None,
    scenario: ScenarioName = None,
    since: Since = None,
    until: Until = None,
    seed: Annotated[int, typer.Option(help="Of what is kept.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Replay a stretch of the log through learning policies, by rejection sampling.

    Only the drawn arm's answer is known of a logged decision: this is not the full-information
    replay of ``simulate``, and keeps a fraction of the decisions.
    """
    with reporting():
        from simulator.evidence import records_from
        from simulator.labels import split_labels
        from simulator.log_replay import SOURCE, judged_draws, of_one_schema, replay_log
        from simulator.logs import Period, parse_moment, read_events, with_log
        from simulator.roster import blank_policy

        settings = settings_of(config, data_dir)
        labels = split_labels(policies)
        for label in labels:
            blank_policy(label, {})
        period = Period(parse_moment("--since", since), parse_moment("--until", until))
        logged = records_from(with_log(settings, lambda log: read_events(log, period)))
        judged = judged_draws(logged)
        records = of_one_schema(judged)
        context = records[0].logged.decision.context.namespaces if records else {}
        schema = {name: len(vector) for name, vector in context.items()}
        wanted = check_scenario(settings, scenario)
        found = {
            "source": SOURCE,
            "decisions": len(records),
            "left_out": {
                "unjudged_or_not_drawn": len(logged) - len(judged),
                "other_features": len(judged) - len(records),
            },
            "policies": {
                label: replay_log(
                    records, blank_policy(label, schema), seed=seed, scenario=wanted
                ).to_dict()
                for label in labels
            },
        }
        if as_json:
            show_json(found)
        else:
            _show_replay(found)


def settings_of(config: Path | None, data_dir: Path | None) -> Settings:
    """The server's settings, so that the log is found where the server keeps it."""
    overrides = {"database": {"data_dir": data_dir}} if data_dir else {}
    return load(config, overrides=overrides)


def check_scenario(settings: Settings, name: str | None) -> Any:
    """The scenario of that name, None for None.

    Raises
    ------
    BadStudyError
        If there is none.
    """
    from simulator.errors import BadStudyError, nearest

    if name is None:
        return None
    known = settings.known_scenarios
    if name not in known:
        raise BadStudyError("--scenario", name, "unknown" + nearest(name, list(known)))
    return known[name]


def _show(report: Mapping[str, Any]) -> None:
    title = f"{report['candidate']} under {report['scenario']}: {report['n']} decisions"
    shown = Table(title=f"{title} ({_left_out(report)})", title_justify="left")
    for column in ("estimator", "reward", "95 %", "effective n"):
        shown.add_column(column, justify="left" if column == "estimator" else "right")
    for row in _estimates(report):
        shown.add_row(*row)
    console = Console(highlight=False, soft_wrap=True)
    console.print(shown)
    for warning in report["warnings"]:
        console.print(f"warning: {warning}", markup=False)


def _left_out(found: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{n} {why.replace('_', ' ')}" for why, n in found["left_out"].items())
    return f"{counts} left out"


def _estimates(report: Mapping[str, Any]) -> Sequence[tuple[str, ...]]:
    logged = [{**report["logged"], "method": "as logged"}] if report["logged"] else []
    return [
        (
            f"{e['method']} *" if e["method"] == report["headline"] else e["method"],
            "–" if e["value"] is None else f"{e['value']:.4f}",
            f"{e['low']:.3f}–{e['high']:.3f}",
            f"{e['ess']:.0f}",
        )
        for e in [*logged, *report["estimates"]]
    ]


def _show_scenarios(reports: Sequence[Mapping[str, Any]]) -> None:
    shown = Table(title="by scenario; estimates from judged answers", title_justify="left")
    columns = ("reward", "solved", "at edge", "saved", "latency s", "RCS")
    for column in ("scenario", "candidate", *columns, "95 %"):
        shown.add_column(column, justify="left" if column in {"scenario", "candidate"} else "right")
    pairs = [(c, report["candidate"]) for report in reports for c in report["scenarios"]]
    for c, name in sorted(pairs, key=lambda pair: str(pair[0]["scenario"])):
        numbers = [c[key] for key in ("reward", "solved", "at_edge", "saved", "latency_s", "rcs")]
        bounds = "–" if c["rcs_low"] is None else f"{c['rcs_low']:.3f}–{c['rcs_high']:.3f}"
        shown.add_row(
            c["scenario"], name, *("–" if x is None else f"{x:.3f}" for x in numbers), bounds
        )
    Console(highlight=False, width=None if Console().is_terminal else 160).print(shown)


def _show_replay(found: Mapping[str, Any]) -> None:
    title = f"{found['source']}; {found['decisions']} decisions ({_left_out(found)})"
    shown = Table(title=title, title_justify="left")
    for column in ("policy", "kept", "quality", "95 %", "reward", "cost $/1k", "latency s"):
        shown.add_column(column, justify="left" if column == "policy" else "right")
    for name, m in found["policies"].items():
        if not m["kept"]:
            shown.add_row(name, "0")
            continue
        shown.add_row(
            name,
            str(m["kept"]),
            f"{m['quality']:.4f}",
            f"{m['quality_low']:.3f}–{m['quality_high']:.3f}",
            *("–" if m[key] is None else f"{scale * m[key]:.4f}"
              for key, scale in (("reward", 1), ("cost_usd", 1000), ("latency_s", 1))),
        )  # fmt: skip
    Console(highlight=False, soft_wrap=True).print(shown)
