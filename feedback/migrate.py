"""Brings a database to the newest schema; safe to call twice, and by several processes at once."""

from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config


def upgrade(dsn: str, revision: str = "head") -> None:
    """Run the missing migrations on the database at ``dsn`` (``postgresql+psycopg://...``)."""
    command.upgrade(_config(dsn), revision)


def downgrade(dsn: str, revision: str = "base") -> None:
    """Undo migrations down to ``revision``; what they hold is lost."""
    command.downgrade(_config(dsn), revision)


def _config(dsn: str) -> Config:
    config = Config(attributes={"dsn": dsn})
    # Alembic's options are ConfigParser values, where a percent sign must be doubled.
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> Path:
    # Found without being imported: env.py runs when it is imported.
    spec = find_spec("migrations.env")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("migrations/env.py is not installed")
    return Path(spec.origin).parent
