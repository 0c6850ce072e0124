"""Budgets: what was spent and is reserved on a day, and the pacers' states.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Whole billionths of a US dollar: sums of them are exact.
UP = """
CREATE TABLE budget_days (
    budget        text NOT NULL,
    day           date NOT NULL,
    spent_nusd    bigint NOT NULL DEFAULT 0 CHECK (spent_nusd >= 0),
    reserved_nusd bigint NOT NULL DEFAULT 0 CHECK (reserved_nusd >= 0),
    PRIMARY KEY (budget, day)
);

CREATE TABLE reservations (
    claim_id    text NOT NULL,
    budget      text NOT NULL,
    day         date NOT NULL,
    amount_nusd bigint NOT NULL CHECK (amount_nusd > 0),
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (claim_id, budget),
    FOREIGN KEY (budget, day) REFERENCES budget_days
);
CREATE INDEX ix_reservations_expires_at ON reservations (expires_at);

CREATE TABLE pacers (
    budget   text PRIMARY KEY,
    position bigint NOT NULL,
    state    jsonb
);
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute("DROP TABLE pacers, reservations, budget_days")
