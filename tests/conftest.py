"""Fixtures of every suite: a real Postgres, a fresh database per test, a folder for servers."""

import itertools
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

from feedback import migrate
from feedback.postgres import EmbeddedPostgres

_numbers = itertools.count()


def _folder(name):
    # Not below pytest's own folder: a second run of pytest would close that to the server's user.
    return Path(tempfile.mkdtemp(prefix=f"pointsman-{name}-"))


@pytest.fixture(scope="session")
def postgres():
    """An embedded Postgres of this session's own."""
    data_dir = _folder("pg")
    server = EmbeddedPostgres(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(data_dir)


@pytest.fixture(scope="session")
def template(postgres):
    """DSN of a database that was made by running the migrations; copied, never used."""
    dsn = _create(postgres, "migrated")
    migrate.upgrade(dsn)
    return dsn


@pytest.fixture
def empty_dsn(postgres):
    """DSN of a new database without any table."""
    name = f"empty_{next(_numbers)}"
    yield _create(postgres, name)
    _drop(postgres, name)


@pytest.fixture
def dsn(postgres, template):
    """DSN of a new database with the current schema."""
    name = f"test_{next(_numbers)}"
    yield _create(postgres, name, template="migrated")
    _drop(postgres, name)


@pytest.fixture
def data_dir():
    """A new folder that an embedded Postgres may live in; removed afterwards."""
    folder = _folder("data")
    yield folder
    EmbeddedPostgres(folder / "postgres").stop()
    EmbeddedPostgres(folder).stop()
    shutil.rmtree(folder)


def _create(postgres, name, template="template0"):
    with _admin(postgres) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.dsn.replace("/pointsman?", f"/{name}?")


def _drop(postgres, name):
    with _admin(postgres) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _admin(postgres):
    return psycopg.connect(postgres.dsn.replace("+psycopg", ""), autocommit=True)


@pytest.fixture(scope="session")
def models_dir():
    """Where the default embedding model is exported to: once for all runs of the tests."""
    return Path(__file__).parents[1] / ".pointsman" / "test-models"
