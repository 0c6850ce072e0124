"""The questions that `feedback.sql` asks of its tables, inside a transaction of the caller's."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Text,
    any_,
    bindparam,
    exists,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bandit.errors import BanditError
from bandit.primitives import FORCED_REASONS
from feedback.errors import UnknownDecisionError
from feedback.log import FeedbackReceipt, LoggedDecision
from feedback.outcome import Feedback, Outcome
from feedback.receipts import DecisionFacts
from feedback.rows import Row, clean, feedback_from, logged_decision, outcome_from
from feedback.tables import APPEND_LOCK, decisions, defaults, feedback, idempotency, outcomes

_log = logging.getLogger(__name__)

# One statement: whoever gets positions holds the lock until commit, so that they appear in order.
_POSITIONS = text(
    "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(:lock)) "
    "SELECT nextval('log_position') FROM held, generate_series(1, :n)"
).bindparams(bindparam("lock", type_=BigInteger))


def among(column: Column[Any], ids: Iterable[str]) -> ColumnElement[bool]:
    """``column`` is one of ``ids``; one array, so that the statement's text is always the same."""
    storable = sorted(id_ for id_ in set(ids) if clean(id_) == id_)
    return column == any_(literal(storable, ARRAY(Text)))


async def next_positions(connection: AsyncConnection, n: int) -> Sequence[int]:
    """``n`` new log positions, ascending; holds the append lock until commit."""
    found = await connection.execute(_POSITIONS, {"lock": APPEND_LOCK, "n": n})
    return sorted(found.scalars())


async def facts_of(connection: AsyncConnection, ids: Iterable[str]) -> Mapping[str, DecisionFacts]:
    """What receipts depend on, by decision; those that are not there are missing."""
    closed = exists().where(defaults.c.decision_id == decisions.c.decision_id).label("closed")
    columns = (
        decisions.c.decision_id,
        decisions.c.key_id,
        decisions.c.decided_at,
        decisions.c.reason,
        decisions.c.features_ok,
        closed,
    )
    found = await connection.execute(select(*columns).where(among(decisions.c.decision_id, ids)))
    return {
        row.decision_id: DecisionFacts(
            row.key_id,
            row.decided_at,
            row.reason in FORCED_REASONS,
            row.features_ok,
            row.closed,
        )
        for row in found
    }


def allowed(facts: Mapping[str, DecisionFacts], decision_id: str, key_id: str | None) -> None:
    """Refuse a decision that is not there, or is not ``key_id``'s; None is everybody.

    Raises
    ------
    UnknownDecisionError
    """
    found = facts.get(decision_id)
    if found is None or (key_id is not None and found.key_id != key_id):
        raise UnknownDecisionError(decision_id)


async def newest_rows(
    connection: AsyncConnection, rows: Sequence[Feedback]
) -> dict[tuple[str, str, str], Feedback]:
    """The newest row of every (decision, metric, source) of the decisions in ``rows``."""
    found = await connection.execute(
        select(feedback)
        .where(among(feedback.c.decision_id, (row.decision_id for row in rows)))
        .order_by(feedback.c.position)
    )
    old = (feedback_from(row) for row in found.mappings())
    return {(row.decision_id, row.metric, row.source): row for row in old}


async def earlier_receipts(
    connection: AsyncConnection, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, list[FeedbackReceipt]]]:
    """SHA-256 of the body and receipts, by those of ``keys`` that were used before."""
    found = await connection.execute(
        select(idempotency).where(among(idempotency.c.key, (key for _, key in keys)))
    )
    return {
        (row.key_id, row.key): (
            row.body_sha256,
            [FeedbackReceipt(**receipt) for receipt in row.receipts],
        )
        for row in found
    }


async def happened(
    connection: AsyncConnection, after: int, limit: int, until: int | None
) -> Sequence[tuple[int, Any, str]]:
    """(position, kind, decision_id) of the next ``limit`` events, in order."""
    parts = []
    for kind, table in (("outcome", outcomes), ("feedback", feedback), ("default", defaults)):
        part = select(table.c.position, literal(kind).label("kind"), table.c.decision_id)
        part = part.where(table.c.position > after)
        if until is not None:
            part = part.where(table.c.position <= until)
        if table is feedback:
            part = part.where(feedback.c.will_apply)
        parts.append(select(part.order_by(table.c.position).limit(limit).subquery()))
    every = union_all(*parts).subquery()
    found = await connection.execute(select(every).order_by(every.c.position).limit(limit))
    return [(row.position, row.kind, row.decision_id) for row in found]


async def outcomes_of(
    connection: AsyncConnection, ids: Iterable[str]
) -> Mapping[str, tuple[int, Outcome]]:
    """(position, outcome) by decision."""
    found = await connection.execute(select(outcomes).where(among(outcomes.c.decision_id, ids)))
    return {row["decision_id"]: (row["position"], outcome_from(row)) for row in found.mappings()}


async def applied_rows(
    connection: AsyncConnection, ids: Iterable[str]
) -> Mapping[str, list[tuple[int, Feedback]]]:
    """The rows that apply, with their positions, oldest first, by decision."""
    found = await connection.execute(
        select(feedback)
        .where(among(feedback.c.decision_id, ids), feedback.c.will_apply)
        .order_by(feedback.c.position)
    )
    rows: dict[str, list[tuple[int, Feedback]]] = {}
    for row in found.mappings():
        rows.setdefault(row["decision_id"], []).append((row["position"], feedback_from(row)))
    return rows


def decoded(rows: Iterable[Row]) -> Iterable[tuple[str, LoggedDecision]]:
    """The decisions that can be read, by id."""
    for row in rows:
        try:
            yield row["decision_id"], logged_decision(row)
        except (BanditError, TypeError, KeyError, ValueError) as error:
            # One row that nobody can read must not stop the learner for ever.
            _log.error("decision %s cannot be read: %s", row["decision_id"], error)
