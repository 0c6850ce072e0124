"""Commands for API keys."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.console import out, reporting, show_json, show_table
from serving.keys import KeyRing
from serving.limits import KeyLimits, check_names
from serving.settings import Settings, load

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of everything kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_JUDGES_NOTHING = (
    "This key can judge nothing: decisions belong to the key that asked for them. "
    "Make it with --for and the id of that key (see 'pointsman keys list')."
)
_NOW_NEEDED = (
    "This is the first key: from now on every request needs one, also on this machine and at a "
    "server that is running. Callers without a key get 401; give each its own, or this one: "
    "'Authorization: Bearer <key>', api_key of an OpenAI client, POINTSMAN_KEY for these commands."
)
_ALWAYS = frozenset({"key_id", "scopes", "created_at"})
_LACKS = "It lacks the scope {scope}: {what} needs a key that has it."
_NEEDED_FOR = {
    "inference": "asking",
    "feedback": "voting",
    "admin": "looking at alarms and budgets, or reloading,",
}


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    return load(config, overrides={"database": {"data_dir": data_dir}} if data_dir else None)


def _ring(config: Path | None, data_dir: Path | None) -> KeyRing:
    return KeyRing(_settings(config, data_dir).keys_file)


def _now() -> datetime:
    return datetime.now(UTC)


@app.command()
def create(
    scope: Annotated[list[str], typer.Option(help="inference, feedback or admin; may repeat.")],
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    judges_for: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="KEY_ID",
            help="Public id of the key whose decisions this one judges; see 'keys list'.",
        ),
    ] = None,
    *,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Scenario that requests may name; may repeat.")
    ] = None,
    own_numbers: Annotated[
        bool, typer.Option(help="Whether requests may bring weights and ceilings of their own.")
    ] = True,
    pins: Annotated[
        bool, typer.Option(help="Whether requests may ask for an arm instead of 'auto'.")
    ] = True,
    min_mes: Annotated[float, typer.Option(help="Least 'mes' that a request may bring.")] = 0.0,
    max_mes: Annotated[float, typer.Option(help="Largest 'mes' that a request may bring.")] = 1.0,
    max_requests_per_minute: Annotated[
        int | None, typer.Option(help="Requests that one server answers a minute; more get 429.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Tag of all its queries; may repeat."),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    A decision belongs to the key that asked. Who votes with another key needs one made with
    --scope feedback --for KEY_ID.
    """
    with reporting():
        settings = _settings(config, data_dir)
        check_names(scenario or (), settings.known_scenarios)
        ring = KeyRing(settings.keys_file)
        closes = ring.open
        token, record = ring.create(
            scope,
            name=name,
            now=_now,
            on_behalf_of=judges_for,
            limits=KeyLimits(
                tuple(scenario or ()),
                own_numbers,
                min_mes,
                max_mes,
                max_requests_per_minute,
                pins,
            ),
            tags=tag or (),
        )
        if as_json:
            show_json(
                {
                    "key": token,
                    "key_id": record.key_id,
                    "scopes": record.scopes,
                    "on_behalf_of": record.on_behalf_of,
                    "limits": asdict(record.limits),
                    "tags": record.tags,
                    "first": closes,
                }
            )
        else:
            out().print(token, markup=False)
            out(stderr=True).print("Keep it now: only its hash is stored.", style="dim")
        if closes:
            _say_closed(record.scopes)
        if record.scopes == ("feedback",) and record.on_behalf_of is None:
            out(stderr=True).print(_JUDGES_NOTHING, style="yellow", markup=False)


def _say_closed(scopes: Sequence[str]) -> None:
    console = out(stderr=True)
    console.print(_NOW_NEEDED, style="yellow", markup=False)
    for scope, what in _NEEDED_FOR.items():
        if scope not in scopes and "admin" not in scopes:
            said = _LACKS.format(scope=scope, what=what)
            console.print(said, style="yellow", markup=False)


@app.command("list")
def list_(config: Config = None, data_dir: DataDir = None, *, as_json: AsJson = False) -> None:
    """Show every key, without its secret."""
    with reporting():
        records = _ring(config, data_dir).list()
        public = [
            {
                **{k: v for k, v in asdict(record).items() if k not in ("salt", "digest")},
                "scopes": ", ".join(record.scopes),
                "limits": str(record.limits),
                "tags": ", ".join(f"{name}={value}" for name, value in record.tags.items()),
            }
            for record in records
        ]
        if as_json:
            show_json(public)
        else:
            columns = (
                "key_id",
                "name",
                "scopes",
                "on_behalf_of",
                "limits",
                "tags",
                "created_at",
                "revoked_at",
            )
            told = [c for c in columns if c in _ALWAYS or any(row[c] for row in public)]
            show_table("API keys", told, [_brief(row) for row in public])


def _brief(row: Mapping[str, Any]) -> dict[str, Any]:
    moments = {name: (row[name] or "")[:19] for name in ("created_at", "revoked_at")}
    return {**row, **moments}


@app.command()
def revoke(key_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Make a key useless; running servers notice with their next request."""
    with reporting():
        record = _ring(config, data_dir).revoke(key_id, now=_now)
        out().print(f"{record.key_id} was revoked", markup=False)
