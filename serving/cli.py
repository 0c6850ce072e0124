"""Commands around a server: run it, check it, look after its database.

What is heavy is imported by the command that needs it, so that ``--help`` is quick.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from serving import (
    cli_alarms,
    cli_bench,
    cli_budgets,
    cli_client,
    cli_features,
    cli_judging,
    cli_keys,
)
from serving.console import PROBLEM, out, reporting, show_json
from serving.settings import load

# ruff: noqa: PLC0415 - see the first lines
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_alarms.app, name="alarms")
app.add_typer(cli_features.app, name="features")
app.add_typer(cli_budgets.app, name="budgets")
app.command()(cli_client.route)
app.command()(cli_client.feedback)
app.command()(cli_client.grade)
app.command()(cli_judging.judges)
app.add_typer(cli_judging.app, name="audits")
app.add_typer(cli_bench.app, name="bench")

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 lets the system choose.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of everything kept.")] = None,
) -> None:
    """Serve the routing endpoint."""
    with reporting():
        overrides = _overrides(host, port, data_dir)
        settings = load(config, overrides=overrides)
        from serving.banner import announce
        from serving.observability import configure_logging

        configure_logging(settings.server.log_level, settings.server.log_format)
        from serving import run

        source = partial(load, config, overrides=overrides)
        raise typer.Exit(run.serve(settings, announce=announce, source=source))


@app.command()
def check(config: Config = None, *, as_json: AsJson = False) -> None:
    """Validate the settings and print those in force, secrets masked."""
    with reporting():
        settings = load(config)
        effective = settings.model_dump(mode="json", exclude={"cloud"})
        if as_json:
            show_json(effective)
        else:
            out().print(yaml.safe_dump(effective, sort_keys=False), markup=False)


@app.command()
def doctor(config: Config = None, *, as_json: AsJson = False) -> None:
    """Say what is missing here, and how to mend it."""
    with reporting():
        settings = load(config)
        from serving.doctor import examine

        findings = []
        for finding in examine(settings):
            findings.append(finding)
            if not as_json:
                remedy = f"\n    -> {finding.remedy}" if finding.remedy else ""
                out().print(f"{_MARKS[finding.verdict]}  {finding.what}: {finding.detail}{remedy}")
        if as_json:
            show_json([asdict(finding) for finding in findings])
        if any(finding.verdict == "problem" for finding in findings):
            raise typer.Exit(PROBLEM)


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the database to the newest schema."""
    with reporting():
        settings = load(config)
        from serving.database import migrate as upgrade

        upgrade(settings)
        out().print("the database has the newest schema")


@app.command()
def learn(config: Config = None) -> None:
    """Run a learner of its own, for servers with 'learner.enabled: false'."""
    with reporting():
        settings = load(config)
        from serving.observability import configure_logging

        configure_logging(settings.server.log_level, settings.server.log_format)
        from serving import run

        raise typer.Exit(run.learn(settings))


@app.command()
def judge(config: Config = None) -> None:
    """Run a judge of its own, for servers with 'judge.in_server: false'."""
    with reporting():
        settings = load(config)
        from serving.observability import configure_logging

        configure_logging(settings.server.log_level, settings.server.log_format)
        from serving import run

        raise typer.Exit(run.judge(settings))


def _overrides(host: str | None, port: int | None, data_dir: Path | None) -> dict[str, Any]:
    server = {"host": host, "port": port}
    given: dict[str, Any] = {name: value for name, value in server.items() if value is not None}
    sections: dict[str, Any] = {"server": given} if given else {}
    return sections | ({"database": {"data_dir": data_dir}} if data_dir else {})
