"""Answers known to be right, for whoever judges.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE decisions ADD COLUMN reference text")


def downgrade() -> None:
    op.execute("ALTER TABLE decisions DROP COLUMN reference")
