"""What a judge may spend a day, and which answers wait for people.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE judge_spend (
            day text PRIMARY KEY,
            usd double precision NOT NULL CHECK (usd BETWEEN 0 AND 1e9)
        )
    """)
    op.execute("""
        CREATE INDEX ix_feedback_audits ON feedback (at)
        WHERE metric = 'judge' AND tags ->> 'audit' = 'drawn'
    """)


def downgrade() -> None:
    op.execute("DROP INDEX ix_feedback_audits")
    op.execute("DROP TABLE judge_spend")
