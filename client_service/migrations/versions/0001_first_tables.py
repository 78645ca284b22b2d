"""The first tables: jobs, runs and their arrow events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("last_due", sa.BigInteger()),
        sa.Column("done_due", sa.BigInteger()),
        sa.Column("owner", sa.String(200)),
        sa.Column("lease_end", sa.Float()),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cursor_sequence", sa.BigInteger(), nullable=False),
        sa.Column("cursor_sum", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("due", sa.BigInteger()),
        sa.Column("merged_ticks", sa.BigInteger(), nullable=False),
        sa.Column("merged_since", sa.BigInteger()),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.String(200)),
        sa.Column("detail", sa.Text()),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float()),
        sa.Column("account_id", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("transactions_read", sa.BigInteger()),
        sa.Column("entry_sum", sa.BigInteger()),
        sa.Column("balance", sa.BigInteger()),
        sa.Column("as_of", sa.BigInteger()),
    )
    op.create_index("run_started", "run", ["job", "started"])
    op.create_index("ix_run_trace_id", "run", ["trace_id"])
    op.create_table(
        "arrow_event",
        sa.Column("trace_id", sa.String(32), primary_key=True),
        sa.Column("span_id", sa.String(16), primary_key=True),
        sa.Column("time", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("arrow_event")
    op.drop_table("run")
    op.drop_table("job")
