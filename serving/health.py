"""Three questions with three answers: alive, ready to serve, able to learn."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feedback.alarms import LoggedAlarm
from feedback.errors import FeedbackError
from feedback.log import LogEvent
from serving.bootstrap import Services

_PROBE_S = 1.0
_PATIENCE_S = 30.0
"""Events may wait so long while nobody learns, as when the learner is started anew."""


@dataclass(frozen=True, slots=True)
class Health:
    """One answer: the verdict, and the states that it rests on."""

    ok: bool
    states: Mapping[str, Any]


def arms(services: Services) -> dict[str, dict[str, Any]]:
    """Every arm: whether it can answer now, and why not; no tokens are spent to find out."""
    found = {}
    for arm_id, backend in services.backends.items():
        well, why = backend.health()
        load = backend.load()
        passes = services.breakers[arm_id].allows()
        found[arm_id] = {
            "ok": well and passes,
            "detail": why if passes else f"{why}; failing, left alone for a while",
            "queued": load.queued,
            "running": load.running,
        }
    return found | {
        spec.arm_id: _joined(spec.parts, found) for spec in services.arms.values() if spec.parts
    }


def _joined(parts: Sequence[str], states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The state of a cascade: that of its parts."""
    bad = [f"{part}: {states[part]['detail']}" for part in parts if not states[part]["ok"]]
    detail = "; ".join(bad) or " first, then ".join(parts)
    return {"ok": not bad, "detail": detail, "queued": 0, "running": 0}


async def ready(services: Services) -> Health:
    """Whether queries are answered: an arm is up and the server is not stopping.

    A missing database does not make it unready: queries are answered from the last snapshot, only
    feedback has to wait.
    """
    every = arms(services)
    draining = services.draining.is_set()
    usable = [name for name, state in every.items() if state["ok"]]
    position, database = await _database(services)
    del position
    states = {
        "status": "draining" if draining else "ready" if usable else "no arm can answer",
        "mode": _mode(services, usable),
        "arms": every,
        "database": database,
        "policy": services.holder.current.version,
    }
    return Health(bool(usable) and not draining, states)


async def learning(services: Services) -> Health:
    """Whether feedback turns into a better policy, and how far behind that is."""
    found = await _learning(services)
    if services.judge is None:
        return found
    return Health(found.ok, {**found.states, "judge": services.judge.status()})


async def _learning(services: Services) -> Health:
    learner = services.learner
    if learner is None:
        found = await _learning_elsewhere(services)
        return Health(found.ok, {**found.states, "alarms": await alarms(services)})
    position, database = await _database(services)
    state: dict[str, Any] = {"database": database, "log_position": position}
    status = learner.status
    # One that stands by has read nothing, which is no lag: the leader is elsewhere.
    lag = None
    if status.leads and position is not None:
        lag = max(0, position - status.position)
    state |= {
        "learner": "leads" if status.leads else "stands by" if status.alive else "dead",
        "position": status.position,
        "lag_events": lag,
        "n_interactions": status.n_interactions,
        "left_out": {"other_features": status.n_foreign, "not_learnable": status.n_poison},
        "error": status.error,
        "alarms": await alarms(services),
    }
    return Health(status.alive and database == "ok", state)


async def alarms(services: Services) -> dict[str, Any] | None:
    """How many alarms there are, how many of them are still to be told, and the newest one."""
    try:
        async with asyncio.timeout(_PROBE_S):
            tally = await services.log.alarms.tally()
    except (FeedbackError, TimeoutError):
        return None
    return {
        "count": sum(tally.by_kind.values()),
        "by_kind": dict(tally.by_kind),
        "pending": tally.n_pending,
        "last": None if tally.newest is None else _brief(tally.newest),
    }


def _brief(row: LoggedAlarm) -> dict[str, Any]:
    return {
        "kind": row.alarm.kind,
        "arm": row.alarm.arm,
        "action": row.alarm.action,
        "noticed_at": row.noticed_at.isoformat(),
    }


async def _learning_elsewhere(services: Services) -> Health:
    """Whether another process learns; if none does, events must not wait for long."""
    log = services.log
    try:
        async with asyncio.timeout(_PROBE_S):
            last, learned = await log.last_position(), await log.learned()
            alone = not learned.led and last > learned.position
            oldest = await log.read(learned.position, 1) if alone else ()
    except (FeedbackError, TimeoutError):
        unavailable = {"database": "unavailable", "log_position": None, "learner": "unknown"}
        return Health(ok=False, states=unavailable)
    waiting_s = None
    if alone:
        # An event that cannot be read has waited for ever.
        ages = [(services.now() - _at(event)).total_seconds() for event in oldest]
        waiting_s = max(0.0, *ages) if ages else None
    state = {
        "database": "ok",
        "log_position": last,
        "learner": "elsewhere" if learned.led else "nowhere",
        "position": learned.position,
        "waiting_s": waiting_s,
    }
    return Health(not alone or (waiting_s is not None and waiting_s <= _PATIENCE_S), state)


def _at(event: LogEvent) -> datetime:
    """When the event happened, or else its decision."""
    rows = [row.at for position, row in event.feedback if position == event.position]
    known = rows or [event.outcome.at if event.outcome and event.kind == "outcome" else None]
    return known[0] or event.logged.decision.decided_at


async def _database(services: Services) -> tuple[int | None, str]:
    try:
        async with asyncio.timeout(_PROBE_S):
            return await services.log.last_position(), "ok"
    except (FeedbackError, TimeoutError):
        return None, "unavailable"


def _mode(services: Services, usable: list[str]) -> str:
    tiers = sorted({services.arms[name].tier for name in usable})
    configured = {spec.tier for spec in services.arms.values()}
    if not tiers:
        return "nothing"
    return "full" if set(tiers) == configured else f"{' and '.join(tiers)} only"
