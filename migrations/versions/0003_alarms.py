"""What learning noticed, and whether it was told.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE alarms (
            alarm_id text PRIMARY KEY,
            seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            kind text NOT NULL,
            arm text,
            decision_id text NOT NULL,
            n_interactions bigint NOT NULL,
            "before" double precision,
            "after" double precision,
            action text NOT NULL,
            position bigint NOT NULL,
            noticed_at timestamptz NOT NULL,
            delivery text NOT NULL
                CHECK (delivery IN ('none', 'pending', 'delivered', 'given_up')),
            attempts integer NOT NULL DEFAULT 0,
            next_attempt_at timestamptz NOT NULL,
            delivered_at timestamptz,
            error text
        )
    """)
    op.execute("CREATE INDEX ix_alarms_due ON alarms (next_attempt_at) WHERE delivery = 'pending'")


def downgrade() -> None:
    op.execute("DROP TABLE alarms")
