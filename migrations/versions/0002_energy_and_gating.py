"""What an answer took in energy, and the second stage of a cascade.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE outcomes
            ADD COLUMN energy_j double precision
                CHECK (energy_j BETWEEN 0 AND 1e9),
            ADD COLUMN gating jsonb
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE outcomes DROP COLUMN gating, DROP COLUMN energy_j")
