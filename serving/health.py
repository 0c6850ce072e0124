"""Three questions with three answers: alive, ready to serve, able to learn."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feedback.errors import FeedbackError
from serving.bootstrap import Services

_PROBE_S = 1.0


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
    return found


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
    position, database = await _database(services)
    learner = services.learner
    state: dict[str, Any] = {"database": database, "log_position": position}
    if learner is None:
        return Health(database == "ok", {**state, "learner": "elsewhere"})
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
        "error": status.error,
    }
    return Health(status.alive and database == "ok", state)


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
