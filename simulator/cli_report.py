"""The command that says whether the router earns its keep."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serving.console import show_json
from simulator.cli_logs import AsJson, Config, DataDir, Since, Until, check_scenario, settings_of
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    *,
    config: Config = None,
    data_dir: DataDir = None,
    since: Since = None,
    until: Until = None,
    scenario: Annotated[
        str | None, typer.Option(help="Only decisions made under this scenario.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only decisions tagged NAME=VALUE; may be repeated.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with plots.")] = None,
    as_json: AsJson = False,
) -> None:
    """Quality, spend and latency against single models, and whether routing earns its keep."""
    with reporting():
        from simulator.ledger import Wanted, ledger_of, parse_tags
        from simulator.logs import Period, parse_moment, read_alarms, read_events, with_log
        from simulator.reckoning import reckon

        settings = settings_of(config, data_dir)
        check_scenario(settings, scenario)
        period = Period(parse_moment("--since", since), parse_moment("--until", until))
        wanted = Wanted(scenario, parse_tags(tag or []))

        async def work(log: Any) -> Any:
            return await read_events(log, period), await read_alarms(log, period)

        events, alarms = with_log(settings, work)
        ledger = ledger_of(
            events, wanted, weights={str(k): w for k, w in settings.feedback.weights.items()}
        )
        found = {
            "filter": {"since": since, "until": until, "scenario": scenario, "tags": wanted.tags},
            **reckon(ledger, alarms=alarms),
        }
        if html is not None:
            from simulator.report_page import write_page

            write_page(html, found)
        if as_json:
            show_json(found)
        else:
            show(found)
            if html is not None:
                Console(stderr=True).print(f"wrote {html}")


def show(found: Mapping[str, Any]) -> None:
    """The report, for people."""
    console = Console(highlight=False, width=None if Console().is_terminal else 200)
    verdict = found["verdict"]
    colour = {True: "green", False: "yellow", None: "yellow"}[verdict["earns"]]
    console.print(verdict["text"], style=colour, markup=False)
    for missing in verdict["missing"]:
        console.print(f"- {missing}", markup=False)
    if not found["decisions"]["all"]:
        return
    for line in facts(found):
        console.print(line, markup=False)
    for title, columns, rows in tables(found):
        if rows:
            shown = Table(title=title, title_justify="left")
            for i, column in enumerate(columns):
                shown.add_column(column, justify="right" if i else "left")
            for row in rows:
                shown.add_row(*row)
            console.print(shown)


def facts(found: Mapping[str, Any]) -> list[str]:
    """Sentences that no table says."""
    counts, judged = found["decisions"], found["judged"]
    forced = ", ".join(f"{n:,} {why}" for why, n in counts["forced"].items())
    lines = [
        (
            f"{counts['all']:,} decisions of {counts['sessions']:,} sessions,"
            f" {found['period']['first']} to {found['period']['last']}; {counts['compared']:,} of"
            " them were drawn and answered, and are compared below"
        )
    ]
    if forced:
        lines.append(f"forced, and so in the totals only: {forced}")
    if counts["failed"] or counts["diverted"]:
        lines.append(
            f"not compared either: {counts['failed']:,} failed, {counts['diverted']:,} were"
            " answered by another arm than was drawn"
        )
    who = ", ".join(f"{b['source']} ({b['metric']}, {b['votes']:,})" for b in judged["by"][:5])
    lines.append(
        f"judged: {judged['decisions']:,} answers, {interval(judged['share'], percent=True)}"
        + (f", by {who}" if who else "")
    )
    served = found["served"]
    if served["spend_usd"] is not None:
        unpriced = 1.0 - (served["cost_known"] or 0.0)
        lines.append(
            f"spent: ${_plain(served['spend_usd'], digits=6)}"
            + (f" (the bills of {unpriced:.1%} of answers are not known)" if unpriced else "")
        )
    acting = [arm["arm"] for arm in found["arms"] if arm["stand_in"]]
    if acting:
        lines.append(
            f"STAND-IN, not a model: {', '.join(acting)}; its answers and prices are made up"
        )
    return lines + _compared_facts(found["compared"])


def _compared_facts(compared: Mapping[str, Any] | None) -> list[str]:
    if compared is None:
        return []
    lines = []
    cloud, saved = compared["always_cloud"], compared["saved_usd"]
    if saved is not None:
        lines.append(f"saved against always {cloud}: ${interval(saved)}")
    kept = compared["kept_at_edge"]
    if kept["queries"]:
        dollars = interval(kept["dollars"], percent=True) if kept["dollars"] else "–"
        lines.append(
            f"kept at the edge: {interval(kept['queries'], percent=True)} of queries, {dollars} of"
            f" the dollars of always {cloud}"
        )
    hull, aiq = compared["hull"], compared["aiq"]
    if hull["served_above"]:
        lines.append(
            f"quality served above the hull of {', '.join(hull['corners'])} at the same cost:"
            f" {interval(hull['served_above'])}"
        )
    if aiq["above"]:
        lines.append(f"AIQ above that hull: {interval(aiq['above'])}")
    return lines


Rows = list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]


def tables(found: Mapping[str, Any]) -> Rows:
    """Title, columns and rows of every table."""
    return [
        (
            "Against single models (drawn decisions; estimated for what was not asked)",
            ("choice", "quality", "$ / 1k queries", "latency s", "served quality above it",
             "seen", "judged"),
            _singles(found["compared"]),
        ),
        (
            "By arm (all decisions; means of what is known)",
            ("arm", "model", "decisions", "share", "spend $", "of spend", "latency s",
             "judged", "judged quality", "forced", "failed"),
            [_arm(arm) for arm in found["arms"]],
        ),
        (
            "By scenario (drawn decisions)",
            ("scenario", "decisions", "problems solved", "kept: queries", "kept: dollars",
             "latency s", "RCS"),
            [_scenario(row) for row in found["scenarios"]],
        ),
        (
            "Alarms",
            ("noticed", "kind", "arm", "before", "after", "done"),
            [_alarm(alarm) for alarm in found["alarms"]],
        ),
    ]  # fmt: skip


def _singles(compared: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    if compared is None:
        return []
    served = compared["served"]
    rows = [
        ("as served", *_point(served), "", f"{compared['decisions']:,}", f"{compared['judged']:,}")
    ]
    rows += [
        (
            f"always {m['arm']}",
            *_point(m),
            interval(m["served_above"]),
            f"{m['seen']:,}",
            f"{m['judged']:,}",
        )
        for m in compared["single_models"]
    ]
    return rows


def _point(point: Mapping[str, Any]) -> Sequence[str]:
    return (
        interval(point["quality"]),
        interval(point["cost_usd"], scale=1000.0),
        interval(point["latency_s"]),
    )


def _arm(arm: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        arm["arm"],
        arm["model"] or "–",
        f"{arm['decisions']:,}",
        interval(arm["share"], percent=True),
        _plain(arm["spend_usd"]),
        "–" if arm["share_of_spend"] is None else f"{arm['share_of_spend']:.1%}",
        interval(arm["latency_s"]),
        interval(arm["judged_share"], percent=True),
        interval(arm["quality"]),
        f"{arm['forced']:,}",
        f"{arm['failed']:,}",
    )


def _scenario(row: Mapping[str, Any]) -> tuple[str, ...]:
    kept = row["cost_advantage"]
    return (
        row["scenario"],
        f"{row['decisions']:,}",
        interval(row["problem_solving"], percent=True),
        interval(kept["queries"], percent=True),
        interval(kept["dollars"], percent=True),
        interval(row["latency_s"]),
        interval(row["rcs"]),
    )


def _alarm(alarm: Mapping[str, Any]) -> tuple[str, ...]:
    change = (_plain(alarm["before"]), _plain(alarm["after"]))
    return (
        alarm["noticed_at"][:19],
        alarm["kind"],
        alarm["arm"] or "all",
        *change,
        alarm["action"],
    )


def interval(found: Mapping[str, Any] | None, *, percent: bool = False, scale: float = 1.0) -> str:
    """A figure with its bounds, as short as it can be read.

    Examples
    --------
    >>> interval({"value": 0.5, "low": 0.25, "high": 0.75}, percent=True)
    '50.0% [25.0, 75.0]'
    >>> interval({"value": 9e-07, "low": 0.0, "high": 12345.678})
    '0.0000009 [0, 12,350]'
    >>> interval(None)
    '–'
    """
    if found is None:
        return "–"
    if percent:
        text = f"{found['value']:.1%}"
        if found["low"] is None:
            return text
        return f"{text} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    text = _plain(scale * found["value"])
    if found["low"] is None:
        return text
    return f"{text} [{_plain(scale * found['low'])}, {_plain(scale * found['high'])}]"


def _plain(value: float | None, *, digits: int = 4) -> str:
    """So many digits, none of them behind an e."""
    if value is None:
        return "–"
    return f"{Decimal(f'{value + 0.0:.{digits}g}'):,f}"
