"""The questions that `feedback.sql` asks of its tables, inside a transaction of the caller's."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bandit.errors import BanditError
from bandit.primitives import FORCED_REASONS
from feedback import sql_text
from feedback.errors import UnknownDecisionError
from feedback.lines import Line
from feedback.log import FeedbackReceipt, LoggedDecision
from feedback.outcome import Feedback, Outcome
from feedback.receipts import COUNTED_OVER, DecisionFacts, Standing
from feedback.rows import Row, clean, feedback_from, logged_decision, outcome_from, rows_json
from feedback.tables import APPEND_LOCK

_log = logging.getLogger(__name__)
_LAST = 2**63 - 1


def storable(ids: Iterable[str]) -> dict[str, list[str]]:
    """Parameters that name ``ids``, without those that no row can have."""
    return {"ids": sorted(id_ for id_ in set(ids) if clean(id_) == id_)}


async def next_positions(line: Line, n: int) -> Sequence[int]:
    """``n`` new log positions, ascending; the transaction holds the append lock until commit."""
    found = await line.run(sql_text.POSITIONS, {"lock": APPEND_LOCK, "n": n})
    return sorted(row["position"] for row in found)


async def insert_outcomes(line: Line, rows: Sequence[Row]) -> set[str]:
    """Store outcomes in their order; the decisions that had none before."""
    given = {"lock": APPEND_LOCK, "rows": rows_json(rows)}
    return {row["decision_id"] for row in await line.run(sql_text.INSERT_OUTCOMES, given)}


async def facts_of(line: Line, ids: Iterable[str]) -> Mapping[str, DecisionFacts]:
    """What receipts depend on, by decision; those that are not there are missing."""
    return {
        row["decision_id"]: DecisionFacts(
            row["key_id"],
            row["decided_at"],
            row["reason"] in FORCED_REASONS,
            row["features_ok"],
            row["closed"],
        )
        for row in await line.run(sql_text.FACTS, storable(ids))
    }


def allowed(facts: Mapping[str, DecisionFacts], ids: Iterable[str], key_id: str | None) -> None:
    """Refuse decisions that are not there, or are not ``key_id``'s; None is everybody.

    Raises
    ------
    UnknownDecisionError
        Naming all of them.
    """

    def known(decision_id: str) -> bool:
        found = facts.get(decision_id)
        return found is not None and (key_id is None or found.key_id == key_id)

    unknown = [id_ for id_ in dict.fromkeys(ids) if not known(id_)]
    if unknown:
        raise UnknownDecisionError(*unknown)


async def standings(line: Line, rows: Sequence[Feedback]) -> dict[tuple[str, str, str], Standing]:
    """What was said before, by (decision, metric, source), of the decisions in ``rows``."""
    found: dict[tuple[str, str, str], Standing] = {}
    ids = storable(row.decision_id for row in rows)
    for row in await line.run(sql_text.FEEDBACK, ids):
        old = feedback_from(row)
        same = (old.decision_id, old.metric, old.source)
        counts = same in found and found[same].counts
        found[same] = Standing(old, counts or row["will_apply"])
    return found


async def counted_votes(
    line: Line, rows: Sequence[Feedback], *, now: datetime
) -> dict[tuple[str, str], int]:
    """Votes of the last hour that count, by (key, source), of the sources in ``rows``.

    What was changed afterwards counts once.
    """
    asked = {"sources": sorted({row.source for row in rows}), "since": now - COUNTED_OVER}
    found = await line.run(sql_text.COUNTED_VOTES, asked)
    return {(row["key_id"], row["source"]): row["n"] for row in found}


async def earlier_receipts(
    line: Line, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, list[FeedbackReceipt]]]:
    """SHA-256 of the body and receipts, by those of ``keys`` that were used before."""
    found = await line.run(sql_text.IDEMPOTENCY, {"keys": sorted({key for _, key in keys})})
    return {
        (row["key_id"], row["key"]): (
            row["body_sha256"],
            [FeedbackReceipt(**receipt) for receipt in row["receipts"]],
        )
        for row in found
    }


async def happened(
    line: Line, after: int, limit: int, until: int | None
) -> Sequence[tuple[int, Any, str]]:
    """(position, kind, decision_id) of the next ``limit`` events, in order."""
    asked = {"after": after, "until": _LAST if until is None else until, "limit": limit}
    found = await line.run(sql_text.HAPPENED, asked)
    return [(row["position"], row["kind"], row["decision_id"]) for row in found]


async def decisions_of(line: Line, ids: Iterable[str]) -> Mapping[str, LoggedDecision]:
    """The decisions that can be read, by id."""
    return dict(decoded(await line.run(sql_text.DECISIONS, storable(ids))))


async def outcomes_of(line: Line, ids: Iterable[str]) -> Mapping[str, tuple[int, Outcome]]:
    """(position, outcome) by decision."""
    found = await line.run(sql_text.OUTCOMES, storable(ids))
    return {row["decision_id"]: (row["position"], outcome_from(row)) for row in found}


async def applied_rows(line: Line, ids: Iterable[str]) -> Mapping[str, list[tuple[int, Feedback]]]:
    """The rows that apply, with their positions, oldest first, by decision."""
    rows: dict[str, list[tuple[int, Feedback]]] = {}
    for row in await line.run(sql_text.APPLIED_FEEDBACK, storable(ids)):
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
