"""The decision log: decisions, outcomes, feedback, snapshots.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# BETWEEN, not >=: Postgres holds NaN above every number, and infinity too passes an open bound.
UP = """
CREATE SEQUENCE log_position AS bigint;

CREATE TABLE decisions (
    decision_id    text PRIMARY KEY,
    seq            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind           text NOT NULL CHECK (kind IN ('chat', 'route')),
    key_id         text NOT NULL,
    decided_at     timestamptz NOT NULL,
    arm            text NOT NULL,
    propensity     double precision NOT NULL CHECK (propensity BETWEEN 0 AND 1),
    reason         text NOT NULL,
    policy_version text NOT NULL,
    scenario       jsonb NOT NULL,
    arms           jsonb NOT NULL,
    prediction     jsonb NOT NULL,
    masked         jsonb NOT NULL,
    tags           jsonb NOT NULL,
    context        bytea NOT NULL,
    schema_version text NOT NULL,
    features_ok    boolean NOT NULL,
    query_hash     text NOT NULL,
    prompt         text
);
CREATE INDEX ix_decisions_decided_at ON decisions (decided_at);

CREATE TABLE outcomes (
    decision_id   text PRIMARY KEY REFERENCES decisions,
    position      bigint NOT NULL UNIQUE,
    arm           text NOT NULL,
    model         text NOT NULL,
    latency_s     double precision CHECK (latency_s BETWEEN 0 AND 1e9),
    ttft_s        double precision CHECK (ttft_s BETWEEN 0 AND 1e9),
    cost_usd      double precision CHECK (cost_usd BETWEEN 0 AND 1e9),
    cost_source   text NOT NULL,
    tokens_in     bigint CHECK (tokens_in >= 0),
    tokens_out    bigint CHECK (tokens_out >= 0),
    finish_reason text,
    failure       text,
    confidence    jsonb NOT NULL,
    reported_by   text NOT NULL,
    at            timestamptz NOT NULL,
    answer        text
);

CREATE TABLE feedback (
    position    bigint PRIMARY KEY,
    feedback_id text NOT NULL,
    decision_id text NOT NULL REFERENCES decisions,
    metric      text NOT NULL,
    value       double precision,
    source      text NOT NULL,
    key_id      text NOT NULL,
    comment     text,
    tags        jsonb NOT NULL,
    occurred_at timestamptz,
    at          timestamptz NOT NULL,
    will_apply  boolean NOT NULL,
    reason      text,
    CONSTRAINT feedback_value_in_range CHECK (
        CASE metric
            WHEN 'thumbs' THEN value IS NULL OR value BETWEEN 0 AND 1
            WHEN 'rating' THEN value IS NULL OR value BETWEEN 1 AND 5
            WHEN 'judge' THEN value IS NULL OR value BETWEEN 0 AND 1
            WHEN 'task_success' THEN value IS NULL OR value BETWEEN 0 AND 1
            WHEN 'comment' THEN value IS NULL
            ELSE false
        END
    )
);
CREATE INDEX ix_feedback_decision_id ON feedback (decision_id);

CREATE TABLE defaults (
    decision_id text PRIMARY KEY REFERENCES decisions,
    position    bigint NOT NULL UNIQUE
);

CREATE TABLE idempotency (
    key_id      text NOT NULL,
    key         text NOT NULL,
    body_sha256 text NOT NULL,
    receipts    jsonb NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (key_id, key)
);

CREATE TABLE snapshots (
    version    text PRIMARY KEY,
    seq        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    position   bigint NOT NULL,
    manifest   jsonb NOT NULL,
    blob       bytea NOT NULL,
    epoch      bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ix_snapshots_position ON snapshots (position);

CREATE TABLE learner_state (
    singleton integer PRIMARY KEY CHECK (singleton = 1),
    position bigint NOT NULL,
    epoch    bigint NOT NULL,
    version  text
);
INSERT INTO learner_state (singleton, position, epoch) VALUES (1, 0, 0);
"""

DOWN = """
DROP TABLE learner_state, snapshots, idempotency, defaults, feedback, outcomes, decisions;
DROP SEQUENCE log_position;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
