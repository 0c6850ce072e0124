"""Commands for API keys."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from serving.console import out, reporting, show_json, show_table
from serving.keys import KeyRing
from serving.settings import load

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML).")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of everything kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_JUDGES_NOTHING = (
    "This key can judge nothing: decisions belong to the key that asked for them. "
    "Make it with --for and the id of that key (see 'pointsman keys list')."
)


def _ring(config: Path | None, data_dir: Path | None) -> KeyRing:
    overrides = {"database": {"data_dir": data_dir}} if data_dir else None
    return KeyRing(load(config, overrides=overrides).keys_file)


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
    config: Config = None,
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    A decision belongs to the key that asked. Who votes with another key needs one made with
    --scope feedback --for KEY_ID.
    """
    with reporting():
        token, record = _ring(config, data_dir).create(
            scope, name=name, now=_now, on_behalf_of=judges_for
        )
        if as_json:
            show_json(
                {
                    "key": token,
                    "key_id": record.key_id,
                    "scopes": record.scopes,
                    "on_behalf_of": record.on_behalf_of,
                }
            )
        else:
            out().print(token, markup=False)
            out(stderr=True).print("Keep it now: only its hash is stored.", style="dim")
        if record.scopes == ("feedback",) and record.on_behalf_of is None:
            out(stderr=True).print(_JUDGES_NOTHING, style="yellow", markup=False)


@app.command("list")
def list_(config: Config = None, data_dir: DataDir = None, *, as_json: AsJson = False) -> None:
    """Show every key, without its secret."""
    with reporting():
        records = _ring(config, data_dir).list()
        public = [
            {
                **{k: v for k, v in asdict(record).items() if k not in ("salt", "digest")},
                "scopes": ", ".join(record.scopes),
            }
            for record in records
        ]
        if as_json:
            show_json(public)
        else:
            columns = ("key_id", "name", "scopes", "on_behalf_of", "created_at", "revoked_at")
            show_table("API keys", columns, public)


@app.command()
def revoke(key_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Make a key useless; running servers notice with their next request."""
    with reporting():
        record = _ring(config, data_dir).revoke(key_id, now=_now)
        out().print(f"{record.key_id} was revoked", markup=False)
