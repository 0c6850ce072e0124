"""Our own decision log as input: opened as the server opens it, read between two moments."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from bandit.policies.factory import maker_of
from bandit.utility import PRESETS, Scenario
from feedback.alarms import LoggedAlarm
from feedback.log import DecisionLog, LogEvent
from feedback.postgres import EmbeddedPostgres
from feedback.sql import SqlDecisionLog
from serving.settings import Settings
from serving.snapshots import load_snapshot
from simulator.candidates import Candidate, by_policy, parse_candidate
from simulator.errors import BadStudyError

T = TypeVar("T")
_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Period:
    """Decisions made from ``since`` until before ``until``; None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, moment: datetime) -> bool:
        """Whether ``moment`` lies within."""
        after = self.since is None or moment >= self.since
        return after and (self.until is None or moment < self.until)


def parse_moment(option: str, text: str | None) -> datetime | None:
    """A moment in ISO 8601; without an offset it is UTC.

    Examples
    --------
    >>> parse_moment("--since", "2026-01-31T12:00")
    datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.timezone.utc)
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadStudyError(option, text, "want a moment such as 2026-01-31T12:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def with_log(settings: Settings, work: Callable[[DecisionLog], Coroutine[Any, Any, T]]) -> T:
    """What ``work`` finds in the log of ``settings``; an embedded Postgres is shared, not stopped.

    Raises
    ------
    BadStudyError
        If there is no log yet.
    """
    if settings.database.dsn is not None:
        return asyncio.run(_use(settings.database.dsn.get_secret_value(), work))
    folder: Path = settings.postgres_dir
    if not folder.is_dir():
        want = "no decision log there; serve first, or name the server's folder or DSN"
        raise BadStudyError("log", str(folder), want)
    postgres = EmbeddedPostgres(folder)
    dsn = postgres.start()
    try:
        return asyncio.run(_use(dsn, work))
    finally:
        postgres.stop()


async def _use(dsn: str, work: Callable[[DecisionLog], Coroutine[Any, Any, T]]) -> T:
    log = SqlDecisionLog(dsn)
    try:
        return await work(log)
    finally:
        await log.aclose()


async def read_events(log: DecisionLog, period: Period) -> list[LogEvent]:
    """Every event of the decisions made in ``period``, in log order."""
    events: list[LogEvent] = []
    after = 0
    while chunk := await log.read(after, _CHUNK):
        events.extend(e for e in chunk if period.has(e.logged.decision.decided_at))
        after = chunk[-1].position
    return events


async def read_alarms(log: DecisionLog, period: Period) -> list[LoggedAlarm]:
    """What learning noticed in ``period``, oldest first."""
    found: list[LoggedAlarm] = []
    before: int | None = None
    while chunk := await log.alarms.newest(_CHUNK, before=before):
        found.extend(alarm for alarm in chunk if period.has(alarm.noticed_at))
        before = chunk[-1].seq
    return found[::-1]


async def named_candidates(
    log: DecisionLog, names: Sequence[str], *, scenarios: Mapping[str, Scenario] = PRESETS
) -> list[Candidate]:
    """Candidates by name; ``snapshot:VERSION`` and ``snapshot:latest`` are looked up in the log.

    Parameters
    ----------
    scenarios
        Those that ``scenario:NAME`` may name.

    Raises
    ------
    BadStudyError
        If a name is none.
    """
    return [
        await _snapshot(log, name)
        if name.startswith("snapshot:")
        else parse_candidate(name, scenarios=scenarios)
        for name in names
    ]


async def _snapshot(log: DecisionLog, name: str) -> Candidate:
    version = name.removeprefix("snapshot:")
    latest = version == "latest"
    found = await (log.latest_snapshot() if latest else log.get_snapshot(version))
    if found is None:
        raise BadStudyError("--candidate", name, "the log has no such snapshot")
    policy = load_snapshot(found, maker_of(found.blob))
    return by_policy(policy, schema_version=found.manifest.get("schema_version"))
