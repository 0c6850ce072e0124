"""Votes of one source in the last hour.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_feedback_source ON feedback (source, at)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_feedback_source")
