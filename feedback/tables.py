"""The tables of the decision log, as SQLAlchemy sees them; ``migrations/`` creates them.

Numbers that teach are fenced with BETWEEN: Postgres holds NaN above every number, so ``>= 0`` would
let it in, and BETWEEN refuses NaN and both infinities.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

APPEND_LOCK = 7_305_804_402_014_721
"""Advisory lock of whoever hands out log positions; held until commit, so order = commit order."""

LEADER_LOCK = 7_305_804_402_014_722
"""Advisory lock of the one learner."""

metadata = MetaData()
positions = Sequence("log_position", metadata=metadata, data_type=BigInteger)
_when = DateTime(timezone=True)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("decided_at", _when, nullable=False, index=True),
    Column("arm", Text, nullable=False),
    Column("propensity", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("scenario", JSONB, nullable=False),
    Column("arms", JSONB, nullable=False),
    Column("prediction", JSONB, nullable=False),
    Column("masked", JSONB, nullable=False),
    Column("tags", JSONB, nullable=False),
    Column("context", LargeBinary, nullable=False),
    Column("schema_version", Text, nullable=False),
    Column("features_ok", Boolean, nullable=False),
    Column("query_hash", Text, nullable=False),
    Column("prompt", Text),
    Column("reference", Text),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("decision_id", Text, ForeignKey("decisions.decision_id"), primary_key=True),
    Column("position", BigInteger, nullable=False, unique=True),
    Column("arm", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("latency_s", Double),
    Column("ttft_s", Double),
    Column("cost_usd", Double),
    Column("cost_source", Text, nullable=False),
    Column("tokens_in", BigInteger),
    Column("tokens_out", BigInteger),
    Column("finish_reason", Text),
    Column("failure", Text),
    Column("confidence", JSONB, nullable=False),
    Column("reported_by", Text, nullable=False),
    Column("at", _when, nullable=False),
    Column("answer", Text),
    Column("energy_j", Double),
    Column("gating", JSONB),
)

feedback = Table(
    "feedback",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("feedback_id", Text, nullable=False),
    Column("decision_id", Text, ForeignKey("decisions.decision_id"), nullable=False, index=True),
    Column("metric", Text, nullable=False),
    Column("value", Double),
    Column("source", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("comment", Text),
    Column("tags", JSONB, nullable=False),
    Column("occurred_at", _when),
    Column("at", _when, nullable=False),
    Column("will_apply", Boolean, nullable=False),
    Column("reason", Text),
    Index("ix_feedback_source", "source", "at"),
    Index(
        "ix_feedback_audits",
        "at",
        postgresql_where=text("metric = 'judge' AND tags ->> 'audit' = 'drawn'"),
    ),
)

defaults = Table(
    "defaults",
    metadata,
    Column("decision_id", Text, ForeignKey("decisions.decision_id"), primary_key=True),
    Column("position", BigInteger, nullable=False, unique=True),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_sha256", Text, nullable=False),
    Column("receipts", JSONB, nullable=False),
    Column("at", _when, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("version", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("position", BigInteger, nullable=False, index=True),
    Column("manifest", JSONB, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("created_at", _when, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("alarm_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("arm", Text),
    Column("decision_id", Text, nullable=False),
    Column("n_interactions", BigInteger, nullable=False),
    Column("before", Double),
    Column("after", Double),
    Column("action", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("noticed_at", _when, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", _when, nullable=False),
    Column("delivered_at", _when),
    Column("error", Text),
    Index("ix_alarms_due", "next_attempt_at", postgresql_where=text("delivery = 'pending'")),
)

judge_spend = Table(
    "judge_spend",
    metadata,
    Column("day", Text, primary_key=True),
    Column("usd", Double, nullable=False),
)

learner_state = Table(
    "learner_state",
    metadata,
    Column("singleton", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("version", Text),
)

budget_days = Table(
    "budget_days",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("spent_nusd", BigInteger, nullable=False, server_default="0"),
    Column("reserved_nusd", BigInteger, nullable=False, server_default="0"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("claim_id", Text, primary_key=True),
    Column("budget", Text, primary_key=True),
    Column("day", Date, nullable=False),
    Column("amount_nusd", BigInteger, nullable=False),
    Column("expires_at", _when, nullable=False, index=True),
    ForeignKeyConstraint(["budget", "day"], ["budget_days.budget", "budget_days.day"]),
)

pacers = Table(
    "pacers",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("state", JSONB),
)
