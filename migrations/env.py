"""Runs the migrations on one connection, one process at a time.

The DSN comes from ``feedback.migrate`` (``attributes["dsn"]``), or from ``alembic -x dsn=...``.
"""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from feedback.tables import metadata

MIGRATION_LOCK = 7_305_804_402_014_720


def _dsn() -> str:
    dsn = context.config.attributes.get("dsn") or context.get_x_argument(as_dictionary=True)["dsn"]
    return str(dsn)


def _run() -> None:
    engine = create_engine(_dsn(), poolclass=NullPool)
    with engine.connect() as connection:
        # Replicas that start together queue here; the second one finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        # A migration that cannot get its table lock gives up rather than block every writer.
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
    engine.dispose()


_run()
