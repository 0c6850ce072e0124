"""The statements of the decision log, as text that never changes, so that each is prepared once.

Rows to insert travel as one JSON text, however many they are (see `feedback.rows.rows_json`).
"""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from feedback.tables import alarms, decisions, defaults, feedback, idempotency, outcomes

_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]


def _names(table: Table) -> list[str]:
    return [f'"{column.name}"' for column in table.c if column.identity is None]


def _given(table: Table) -> str:
    """The rows in the parameter, as rows of ``table``."""
    kinds = (
        f'"{column.name}" {column.type.compile(_POSTGRES)}'
        for column in table.c
        if column.identity is None
    )
    return f"json_to_recordset(%(rows)s::json) AS given({', '.join(kinds)})"


def _insert(table: Table) -> str:
    names = ", ".join(_names(table))
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_given(table)}"  # noqa: S608 - our own names


def _select(table: Table, where: str = "decision_id = ANY(%(ids)s)") -> str:
    return f"SELECT {', '.join(_names(table))} FROM {table.name} WHERE {where}"  # noqa: S608 - our own names


def _insert_outcomes() -> str:
    """Whoever gets positions holds the lock until commit, so that they appear in order.

    The statement is a transaction of its own, and `held` is looked at before any position is taken.
    Outcomes of decisions that are not there are left out.
    """
    names = ", ".join(_names(outcomes))
    taken = names.replace('"position"', "nextval('log_position')")
    return f"""
        WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(%(lock)s::bigint))
        INSERT INTO outcomes ({names})
        SELECT {taken} FROM (
            SELECT given.* FROM held, {_given(outcomes)}
            WHERE EXISTS (SELECT FROM decisions d WHERE d.decision_id = given.decision_id)
            ORDER BY given.position
        ) AS ordered
        ON CONFLICT DO NOTHING RETURNING decision_id"""  # noqa: S608 - our own names


INSERT_DECISIONS = f"{_insert(decisions)} ON CONFLICT DO NOTHING"
INSERT_OUTCOMES = _insert_outcomes()
INSERT_FEEDBACK = _insert(feedback)
INSERT_DEFAULTS = _insert(defaults)
INSERT_IDEMPOTENCY = _insert(idempotency)

_ALARM = ", ".join(f'"{column.name}"' for column in alarms.c)
INSERT_ALARMS = f"{_insert(alarms)} ON CONFLICT DO NOTHING RETURNING {_ALARM}"
NEWEST_ALARMS = f"""
    SELECT {_ALARM} FROM alarms
    WHERE seq < %(before)s::bigint AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
    ORDER BY seq DESC LIMIT %(limit)s::int"""  # noqa: S608 - our own names
ALARM_COUNTS = """
    SELECT kind, count(*) AS n, count(*) FILTER (WHERE delivery = 'pending') AS n_pending
    FROM alarms GROUP BY kind ORDER BY kind"""
GIVE_UP_ALARMS = """
    UPDATE alarms SET delivery = 'given_up'
    WHERE delivery = 'pending' AND noticed_at < %(since)s::timestamptz"""
# Whoever claims has them to itself until the time it names; if it dies, they are due again.
CLAIM_ALARMS = f"""
    UPDATE alarms SET attempts = attempts + 1, next_attempt_at = %(until)s::timestamptz
    WHERE alarm_id IN (
        SELECT alarm_id FROM alarms
        WHERE delivery = 'pending' AND next_attempt_at <= %(now)s::timestamptz
        ORDER BY seq LIMIT %(limit)s::int FOR UPDATE SKIP LOCKED)
    RETURNING {_ALARM}"""  # noqa: S608 - our own names
SETTLE_ALARM = """
    UPDATE alarms SET error = %(error)s::text,
        delivery = CASE WHEN %(retry_at)s::timestamptz IS NULL THEN 'delivered' ELSE delivery END,
        delivered_at = CASE WHEN %(retry_at)s::timestamptz IS NULL THEN %(now)s::timestamptz END,
        next_attempt_at = coalesce(%(retry_at)s::timestamptz, next_attempt_at)
    WHERE alarm_id = %(id)s::text AND delivery = 'pending'"""

DECISIONS = _select(decisions)
OUTCOMES = _select(outcomes)
FEEDBACK = f"{_select(feedback)} ORDER BY position"
APPLIED_FEEDBACK = f"{_select(feedback)} AND will_apply ORDER BY position"
COUNTED_VOTES = """
    SELECT key_id, source, count(DISTINCT (decision_id, metric)) AS n FROM feedback
    WHERE source = ANY(%(sources)s) AND at > %(since)s::timestamptz
        AND will_apply AND value IS NOT NULL
    GROUP BY key_id, source"""
IDEMPOTENCY = _select(idempotency, "key = ANY(%(keys)s)")

POSITIONS = """
    WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(%(lock)s::bigint))
    SELECT nextval('log_position') AS position FROM held, generate_series(1, %(n)s::int)"""

FACTS = """
    SELECT decision_id, key_id, decided_at, reason, features_ok,
        EXISTS (SELECT FROM defaults c WHERE c.decision_id = d.decision_id) AS closed
    FROM decisions d WHERE decision_id = ANY(%(ids)s)"""

HAPPENED = """
    SELECT position, kind, decision_id FROM (
        (SELECT position, 'outcome' AS kind, decision_id FROM outcomes
         WHERE position > %(after)s::bigint AND position <= %(until)s::bigint
         ORDER BY position LIMIT %(limit)s::int)
        UNION ALL
        (SELECT position, 'feedback', decision_id FROM feedback
         WHERE position > %(after)s::bigint AND position <= %(until)s::bigint AND will_apply
         ORDER BY position LIMIT %(limit)s::int)
        UNION ALL
        (SELECT position, 'default', decision_id FROM defaults
         WHERE position > %(after)s::bigint AND position <= %(until)s::bigint
         ORDER BY position LIMIT %(limit)s::int)
    ) AS events ORDER BY position LIMIT %(limit)s::int"""

LAST_POSITION = """
    SELECT coalesce(greatest(
        (SELECT max(position) FROM outcomes),
        (SELECT max(position) FROM feedback WHERE will_apply),
        (SELECT max(position) FROM defaults)), 0) AS position"""

UNJUDGED = """
    SELECT d.decision_id FROM decisions d JOIN outcomes USING (decision_id)
    WHERE d.decided_at < %(before)s
        AND NOT EXISTS
            (SELECT FROM feedback f WHERE f.decision_id = d.decision_id AND f.will_apply)
        AND NOT EXISTS (SELECT FROM defaults c WHERE c.decision_id = d.decision_id)
    ORDER BY d.decided_at LIMIT %(limit)s::int"""

LATEST_VERSION = "SELECT version FROM learner_state"

# An advisory lock on a bigint shows its halves as classid and objid, with objsubid 1.
LEARNED = """
    SELECT position, EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND (classid::bigint << 32) | objid::bigint = %(lock)s::bigint
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS led FROM learner_state"""

WAITING_AUDITS = """
    SELECT decision_id, count(*) OVER () AS n FROM (
        SELECT DISTINCT f.decision_id
        FROM feedback f JOIN decisions d USING (decision_id)
        WHERE f.metric = 'judge' AND f.tags ->> 'audit' = 'drawn' AND f.at >= %(since)s
            AND (%(key_id)s::text IS NULL OR d.key_id = %(key_id)s::text)
            AND NOT EXISTS (
                SELECT FROM feedback a WHERE a.decision_id = f.decision_id
                    AND a.metric <> 'judge' AND a.tags ->> 'audit' IS NOT NULL)
    ) AS drawn ORDER BY md5(decision_id) LIMIT %(limit)s::int"""

RESERVE_JUDGE_MONEY = """
    INSERT INTO judge_spend (day, usd) VALUES (%(day)s, %(usd)s::float8)
    ON CONFLICT (day) DO UPDATE SET usd = judge_spend.usd + excluded.usd
        WHERE judge_spend.usd + excluded.usd <= %(cap)s::float8
    RETURNING usd"""

SETTLE_JUDGE_MONEY = """
    UPDATE judge_spend SET usd = greatest(0, usd + %(change)s::float8) WHERE day = %(day)s"""

JUDGE_MONEY = "SELECT usd FROM judge_spend WHERE day = %(day)s"
