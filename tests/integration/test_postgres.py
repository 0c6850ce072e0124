"""The embedded Postgres, its migrations, and what happens when it goes away."""

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from feedback import migrate
from feedback.engine import LogConfig
from feedback.errors import LogUnavailableError
from feedback.postgres import EmbeddedPostgres
from feedback.sql import SqlDecisionLog
from feedback.tables import metadata
from tests.makers import Clock, logged, outcome, vote


def query(dsn, text, *values):
    with psycopg.connect(dsn.replace("+psycopg", ""), autocommit=True) as connection:
        return connection.execute(text, values).fetchone()


@pytest.mark.parametrize("name", ["fsync", "synchronous_commit", "full_page_writes"])
def test_what_is_acknowledged_is_durable(postgres, name):
    assert query(postgres.dsn, "SELECT current_setting(%s)", name) == ("on",)


def test_connections_of_the_log_commit_durably_whatever_the_database_says(dsn):
    query_name = "ALTER DATABASE {} SET synchronous_commit = off".format(
        dsn.split("@/")[1].split("?")[0]
    )
    with psycopg.connect(dsn.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(query_name)

    async def ask():
        log = SqlDecisionLog(dsn)
        try:
            return await log._database.transact(
                lambda c: c.exec_driver_sql("SHOW synchronous_commit")
            )
        finally:
            await log.aclose()

    assert asyncio.run(ask()).scalar_one() == "on"


def test_nobody_else_can_reach_it(postgres):
    socket = postgres._socket_dir() / ".s.PGSQL.5432"
    assert socket.stat().st_mode & 0o077 == 0
    assert query(postgres.dsn, "SELECT current_setting('listen_addresses')") == ("",)


def test_the_last_one_to_leave_stops_it(data_dir):
    code = (
        "import sys, pathlib; from feedback.postgres import EmbeddedPostgres; "
        "p = EmbeddedPostgres(pathlib.Path(sys.argv[1])); p.start(); print(p.pid, flush=True); "
        "sys.stdin.read(); p.stop()"
    )
    ours = EmbeddedPostgres(data_dir)
    command = [sys.executable, "-c", code, str(data_dir)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        pid = int(other.stdout.readline())
        ours.start()
        assert ours.pid == pid
        ours.stop()
        assert ours.pid == pid
        other.communicate("")
    assert ours.pid is None
    ours.stop()


def test_it_outlives_a_killed_user_and_the_next_one_takes_it_over(data_dir):
    code = (
        "import sys, pathlib; from feedback.postgres import EmbeddedPostgres; "
        "p = EmbeddedPostgres(pathlib.Path(sys.argv[1])); p.start(); print(p.pid, flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(data_dir)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        pid = int(starter.stdout.readline())
        starter.kill()
    server = EmbeddedPostgres(data_dir)
    dsn = server.start()
    assert server.pid == pid
    assert query(dsn, "SELECT 1") == (1,)
    server.stop()
    assert server.pid is None


def test_a_stale_pid_file_of_some_other_process_does_not_fool_it(data_dir):
    server = EmbeddedPostgres(data_dir)
    server.start()
    server.stop()
    (data_dir / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert server.pid is None


def test_a_folder_with_a_long_path_works(data_dir):
    long = data_dir / ("x" * 120)
    server = EmbeddedPostgres(long)
    try:
        assert query(server.start(), "SELECT 1") == (1,)
    finally:
        server.stop()


def test_a_folder_that_cannot_hold_a_database_says_so(data_dir):
    (data_dir / "cluster").write_text("in the way")
    with pytest.raises(LogUnavailableError, match="embedded Postgres"):
        EmbeddedPostgres(data_dir).start()


def test_migrations_make_the_tables_that_the_code_knows(dsn):
    engine = create_engine(dsn, poolclass=NullPool)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_migrating_twice_and_there_and_back_is_safe(empty_dsn):
    migrate.upgrade(empty_dsn)
    migrate.upgrade(empty_dsn)
    migrate.downgrade(empty_dsn)
    migrate.upgrade(empty_dsn)
    assert query(empty_dsn, "SELECT count(*) FROM learner_state") == (1,)


def test_three_processes_may_migrate_at_once(empty_dsn):
    code = "import sys; from feedback.migrate import upgrade; upgrade(sys.argv[1])"
    command = [sys.executable, "-c", code, empty_dsn]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert query(empty_dsn, "SELECT count(*) FROM alembic_version") == (1,)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1.5", "-0.1"])
def test_the_database_itself_refuses_a_value_out_of_range(dsn, value):
    insert = (
        "INSERT INTO feedback (position, feedback_id, decision_id, metric, value, source, key_id,"
        " tags, at, will_apply) VALUES (1, 'f', 'd', 'judge', %s, 's', '', '{}', now(), true)"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        query(dsn, insert, value)


async def test_a_text_that_jsonb_cannot_hold_is_mended(dsn):
    with_log = SqlDecisionLog(dsn)
    try:
        tags = {"a\x00": "\ud800", "kept": "\\u0000"}
        await with_log.add_decisions([logged("d", tags=tags, prompt="x\x00\ud800")])
        found = (await with_log.get("d")).logged
        assert found.decision.tags == {"a\ufffd": "\ufffd", "kept": "\\u0000"}
        assert found.prompt == "x\ufffd\ufffd"
    finally:
        await with_log.aclose()


async def test_a_decision_that_cannot_be_read_does_not_stop_the_others(dsn):
    log = SqlDecisionLog(dsn)
    try:
        await log.add_decisions([logged("bad"), logged("good")])
        await log.add_outcomes([outcome("bad"), outcome("good")])
        with psycopg.connect(dsn.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("UPDATE decisions SET context = 'x' WHERE decision_id = 'bad'")
        (event,) = await log.read(0, 10)
        assert event.logged.decision.decision_id == "good"
    finally:
        await log.aclose()


async def test_a_database_without_tables_is_not_available(empty_dsn):
    log = SqlDecisionLog(empty_dsn)
    try:
        with pytest.raises(LogUnavailableError, match="decisions"):
            await log.add_decisions([logged("d")])
    finally:
        await log.aclose()


async def test_lines_that_died_unnoticed_cost_no_call(dsn):
    """Nothing was committed when a dead line is found out, so even a vote without a key goes on."""
    log = SqlDecisionLog(dsn, clock=Clock())
    try:
        await log.add_decisions([logged("d")])
        for call in (lambda: log.add_feedback([vote("d")]), lambda: log.read(0, 10)):
            query(
                dsn,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            assert len(await call()) == 1
    finally:
        await log.aclose()


async def test_no_server_is_not_available(data_dir):
    log = SqlDecisionLog(f"postgresql://postgres@/x?host={data_dir}")
    try:
        with pytest.raises(LogUnavailableError):
            await log.last_position()
        with pytest.raises(LogUnavailableError):
            await log.lead()
    finally:
        await log.aclose()


async def test_a_kill_9_of_the_server_loses_nothing_that_was_acknowledged(data_dir):
    """A burst of votes, the whole server killed in the middle, started again."""
    server = EmbeddedPostgres(data_dir)
    dsn = server.start()
    migrate.upgrade(dsn)
    log = SqlDecisionLog(dsn, clock=Clock())
    acknowledged = []
    ids = [f"d{i}" for i in range(400)]

    async def burst(part):
        for id_ in part:
            try:
                await log.add_feedback([vote(id_)])
            except LogUnavailableError:
                return
            acknowledged.append(id_)
            if len(acknowledged) == 60:
                psutil.wait_procs(send(server.pid, signal.SIGKILL), timeout=10)

    try:
        await log.add_decisions([logged(id_) for id_ in ids])
        await asyncio.gather(*(burst(ids[k::4]) for k in range(4)))
        assert 60 <= len(acknowledged) < 400
        server.start()
        events = await log.read(0, 1000)
        stored = {event.logged.decision.decision_id for event in events}
        assert stored >= set(acknowledged)
        (receipt,) = await log.add_feedback([vote(ids[-1], 0)])
        assert receipt.will_apply
    finally:
        await log.aclose()
        server.stop()


async def test_a_server_that_hangs_costs_a_bounded_time_and_is_used_again_afterwards(data_dir):
    server = EmbeddedPostgres(data_dir)
    dsn = server.start()
    migrate.upgrade(dsn)
    log = SqlDecisionLog(dsn, clock=Clock(), config=LogConfig(timeout_s=0.5))
    try:
        await log.add_decisions([logged("d")])
        send(server.pid, signal.SIGSTOP)
        async with asyncio.timeout(5.0):
            for _ in range(3):
                with pytest.raises(LogUnavailableError):
                    await log.add_feedback([vote("d")])
        send(server.pid, signal.SIGCONT)
        async with asyncio.timeout(20.0):
            while not await voted(log):  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.05)
    finally:
        send(server.pid, signal.SIGCONT)
        await log.aclose()
        server.stop()


async def voted(log):
    try:
        await log.add_feedback([vote("d", 0)])
    except LogUnavailableError:
        return False
    return True


def send(pid, what):
    """Send a signal to a server and to all of its processes; returns them."""
    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.send_signal(what)
    return family
