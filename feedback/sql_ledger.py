"""Reservations and pacers in Postgres, shared by every server.

Whoever changes an account first locks its row, several in the order of their names: sums are always
those of the reservations that are there, and nobody waits for somebody who waits for them.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime

from bandit.packing import arm_from_dict, prediction_from_dict, scenario_from_dict
from bandit.primitives import FORCED_REASONS
from feedback.engine import Database, LogConfig
from feedback.grouping import Grouped
from feedback.ledger import Account, Balance, Bill, Claim, Judgement, PacerRow, admit
from feedback.lines import Line
from feedback.rows import Row, dumps, rows_json

_MAX_GROUP = 64

_ENSURE = """
    INSERT INTO budget_days (budget, day)
    SELECT budget, day FROM json_to_recordset(%(rows)s::json) AS given(budget text, day date)
    ON CONFLICT DO NOTHING"""
_LOCK = """
    SELECT b.budget, b.day, b.spent_nusd, b.reserved_nusd
    FROM budget_days b JOIN json_to_recordset(%(rows)s::json) AS given(budget text, day date)
        USING (budget, day)
    ORDER BY b.budget, b.day FOR UPDATE OF b"""
_RESERVE = """
    WITH made AS (
        INSERT INTO reservations (claim_id, budget, day, amount_nusd, expires_at)
        SELECT claim_id, budget, day, amount_nusd, expires_at
        FROM json_to_recordset(%(rows)s::json)
            AS given(claim_id text, budget text, day date, amount_nusd bigint,
                expires_at timestamptz)
        RETURNING budget, day, amount_nusd
    ), sums AS (SELECT budget, day, sum(amount_nusd) AS nusd FROM made GROUP BY budget, day)
    UPDATE budget_days b SET reserved_nusd = reserved_nusd + nusd
    FROM sums WHERE b.budget = sums.budget AND b.day = sums.day"""
_SETTLE = """
    WITH gone AS (
        DELETE FROM reservations r
        USING json_to_recordset(%(rows)s::json) AS given(claim_id text, bill_nusd bigint)
        WHERE r.claim_id = given.claim_id
        RETURNING r.budget, r.day, r.amount_nusd, given.bill_nusd
    ), sums AS (
        SELECT budget, day, sum(amount_nusd) AS held, sum(bill_nusd) AS nusd
        FROM gone GROUP BY budget, day)
    UPDATE budget_days b SET reserved_nusd = reserved_nusd - held, spent_nusd = spent_nusd + nusd
    FROM sums WHERE b.budget = sums.budget AND b.day = sums.day"""
_EXPIRED = """
    SELECT claim_id, budget, day, amount_nusd AS bill_nusd FROM reservations
    WHERE expires_at < %(now)s LIMIT 1000"""
_CHARGE = """
    INSERT INTO budget_days (budget, day, spent_nusd)
    SELECT budget, day, nusd FROM json_to_recordset(%(rows)s::json)
        AS given(budget text, day date, nusd bigint)
    ORDER BY budget, day
    ON CONFLICT (budget, day)
    DO UPDATE SET spent_nusd = budget_days.spent_nusd + excluded.spent_nusd"""
_BALANCES = "SELECT budget, spent_nusd, reserved_nusd FROM budget_days WHERE day = %(day)s"
_OPEN_PACERS = """
    INSERT INTO pacers (budget, position)
    SELECT name, (SELECT coalesce(max(position), 0) FROM outcomes)
    FROM unnest(%(names)s::text[]) AS name
    ON CONFLICT DO NOTHING"""
_PACERS = "SELECT budget, position, state FROM pacers WHERE budget = ANY(%(names)s)"
_KEEP_PACERS = """
    UPDATE pacers p SET position = given.position, state = given.state
    FROM json_to_recordset(%(rows)s::json) AS given(budget text, position bigint, state jsonb)
    WHERE p.budget = given.budget AND p.position < given.position"""
_BILLS = """
    SELECT o.position, o.cost_usd, o.latency_s, o.arm <> d.arm AS moved, d.reason, d.tags, d.arms,
        d.prediction, d.scenario
    FROM outcomes o JOIN decisions d USING (decision_id)
    WHERE o.position > %(after)s::bigint ORDER BY o.position LIMIT %(limit)s::int"""
# Positions commit in order: what lies before a row is there whenever the row is, for every server.
_JUDGEMENTS = """
    SELECT f.position, f.metric, f.value, coalesce(o.arm <> d.arm, false) AS moved, d.reason,
        d.prediction, d.scenario
    FROM feedback f JOIN decisions d USING (decision_id)
    LEFT JOIN outcomes o ON o.decision_id = f.decision_id AND o.position < f.position
    WHERE f.position > %(after)s::bigint AND f.will_apply AND f.value IS NOT NULL
        AND f.metric = ANY(%(metrics)s::text[]) AND o.failure IS NULL
        AND NOT EXISTS (
            SELECT FROM feedback e
            WHERE e.decision_id = f.decision_id AND e.position < f.position AND e.will_apply
                AND e.value IS NOT NULL AND e.metric = ANY(%(metrics)s::text[]))
    ORDER BY f.position LIMIT %(limit)s::int"""


class SqlLedger:
    """Keeps caps and pacers. One event loop owns an instance.

    Parameters
    ----------
    dsn
        As of `feedback.sql.SqlDecisionLog`.
    config
        How its own connections are used; a query waits for them, so they should not be patient.
    """

    def __init__(self, dsn: str, *, config: LogConfig) -> None:
        self._database = Database(dsn, config)
        self._claims = Grouped(self._reserve, max_items=_MAX_GROUP, timeout_s=config.timeout_s)
        self._bills = Grouped(self._settle, max_items=_MAX_GROUP, timeout_s=config.timeout_s)

    async def reserve(self, claim: Claim) -> bool:
        """Whether the whole of ``claim`` fitted, and is now reserved.

        Raises
        ------
        LogUnavailableError
            Nothing must be spent then; what may have been reserved all the same will expire.
        """
        return await self._claims.submit(claim)

    async def settle(self, claim: Claim, bill_nusd: int) -> None:
        """Put the real bill in the place of a reservation; does nothing the second time.

        Raises
        ------
        LogUnavailableError
            It can be repeated.
        """
        await self._bills.submit((claim, bill_nusd))

    async def charge(self, accounts: Iterable[Account], nusd: int) -> None:
        """Count what was spent without a reservation.

        Raises
        ------
        LogUnavailableError
        """
        rows = rows_json([{**row, "nusd": nusd} for row in _rows(accounts)])

        async def work(line: Line) -> None:
            await line.run(_CHARGE, {"rows": rows})

        await self._database.swiftly(work, again=False)

    async def expire(self, now: datetime) -> int:
        """Charge in full what nobody settled in time; how many reservations that were."""

        async def work(line: Line) -> int:
            found = await line.run(_EXPIRED, {"now": now})
            if found:
                rows = [{"claim_id": r["claim_id"], "bill_nusd": r["bill_nusd"]} for r in found]
                unique = list({row["claim_id"]: row for row in rows}.values())
                async with _locked(line, {(r["budget"], r["day"]) for r in found}):
                    await line.run(_SETTLE, {"rows": rows_json(unique)})
            return len({row["claim_id"] for row in found})

        return await self._database.swiftly(work)

    async def balances(self, day: date) -> Mapping[str, Balance]:
        """Every budget's balance on a day, those that were never used left out."""

        async def work(line: Line) -> Mapping[str, Balance]:
            found = await line.run(_BALANCES, {"day": day})
            return {
                row["budget"]: Balance(row["spent_nusd"], row["reserved_nusd"]) for row in found
            }

        return await self._database.swiftly(work)

    async def open_pacers(self, names: Sequence[str]) -> Mapping[str, PacerRow]:
        """What is stored of these pacers; new ones begin where the log ends now."""

        async def work(line: Line) -> Mapping[str, PacerRow]:
            await line.run(_OPEN_PACERS, {"names": list(names)})
            found = await line.run(_PACERS, {"names": list(names)})
            return {row["budget"]: PacerRow(row["position"], row["state"]) for row in found}

        return await self._database.swiftly(work)

    async def keep_pacers(self, pacers: Mapping[str, PacerRow]) -> None:
        """Store pacers, unless what is stored has counted further."""
        rows = dumps(
            [
                {"budget": name, "position": row.position, "state": row.state}
                for name, row in pacers.items()
            ]
        )

        async def work(line: Line) -> None:
            await line.run(_KEEP_PACERS, {"rows": rows})

        await self._database.swiftly(work)

    async def bills(self, after: int, limit: int) -> Sequence[Bill]:
        """Answers whose outcome has a position above ``after``, in order."""

        async def work(line: Line) -> Sequence[Bill]:
            found = await line.run(_BILLS, {"after": after, "limit": limit})
            return [_bill(row) for row in found]

        return await self._database.swiftly(work)

    async def judgements(
        self, after: int, limit: int, *, metrics: Sequence[str]
    ) -> Sequence[Judgement]:
        """First judgements of answers by one of the metrics, at positions above ``after``."""
        given = {"after": after, "limit": limit, "metrics": list(metrics)}

        async def work(line: Line) -> Sequence[Judgement]:
            return [_judgement(row) for row in await line.run(_JUDGEMENTS, given)]

        return await self._database.swiftly(work)

    async def aclose(self) -> None:
        """Settle what still waits, and give back connections."""
        await self._bills.aclose()
        await self._database.aclose()

    async def _reserve(self, claims: Sequence[Claim]) -> Sequence[bool]:
        accounts = {account for claim in claims for account in claim.caps_nusd}

        async def work(line: Line) -> list[bool]:
            async with _locked(line, accounts) as balances:
                verdicts, _ = admit(balances, claims)
                rows = [
                    {**row, "claim_id": claim.claim_id, "amount_nusd": claim.amount_nusd,
                     "expires_at": claim.expires_at}
                    for claim, fits in zip(claims, verdicts, strict=True)
                    if fits
                    for row in _rows(claim.caps_nusd)
                ]  # fmt: skip
                if rows:
                    await line.run(_RESERVE, {"rows": rows_json(rows)})
            return verdicts

        return await self._database.swiftly(work, again=False)

    async def _settle(self, bills: Sequence[tuple[Claim, int]]) -> Sequence[None]:
        accounts = {account for claim, _ in bills for account in claim.caps_nusd}
        last = {claim.claim_id: nusd for claim, nusd in bills}
        rows = [{"claim_id": id_, "bill_nusd": nusd} for id_, nusd in last.items()]

        async def work(line: Line) -> None:
            async with _locked(line, accounts):
                await line.run(_SETTLE, {"rows": rows_json(rows)})

        await self._database.swiftly(work)
        return [None] * len(bills)


@asynccontextmanager
async def _locked(
    line: Line, accounts: Iterable[Account]
) -> AsyncIterator[Mapping[Account, Balance]]:
    """The accounts' balances, which nobody else changes until the transaction ends."""
    wanted = set(accounts)
    given = {"rows": rows_json(_rows(wanted))}
    async with line.transaction():
        found = await line.run(_LOCK, given)
        if len(found) < len(wanted):
            await line.run(_ENSURE, given)
            found = await line.run(_LOCK, given)
        yield {
            (row["budget"], row["day"]): Balance(row["spent_nusd"], row["reserved_nusd"])
            for row in found
        }


def _rows(accounts: Iterable[Account]) -> list[dict[str, str | int]]:
    return [{"budget": name, "day": day.isoformat()} for name, day in sorted(accounts)]


def _bill(row: Row) -> Bill:
    return Bill(
        row["position"],
        row["cost_usd"],
        row["latency_s"],
        row["moved"] or row["reason"] in FORCED_REASONS,
        row["tags"],
        tuple(arm_from_dict(arm) for arm in row["arms"]),
        prediction_from_dict(row["prediction"]),
        scenario_from_dict(row["scenario"]),
    )


def _judgement(row: Row) -> Judgement:
    return Judgement(
        row["position"],
        row["metric"],
        row["value"],
        row["moved"] or row["reason"] in FORCED_REASONS,
        prediction_from_dict(row["prediction"]),
        scenario_from_dict(row["scenario"]),
    )
