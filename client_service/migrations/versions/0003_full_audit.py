"""The full audit: a digest of each page of transactions that was reconciled.

All has to be read once more for that, so the reconciliation begins anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_page",
        sa.Column("job", sa.String(64), primary_key=True),
        sa.Column("last", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("entry_sum", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.execute("UPDATE job SET cursor = NULL WHERE name = 'reconcile'")


def downgrade() -> None:
    op.drop_table("kept_page")
    op.execute("UPDATE job SET cursor = NULL WHERE name IN ('reconcile', 'full-audit')")
