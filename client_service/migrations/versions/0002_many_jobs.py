"""Many jobs: what a job has read and what a run came to are the job's own, in a form of its own.

A run that is under way is found by its key, and old ones by the time of their start.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OF_JOBS = ("source", "cursor_sequence", "cursor_sum")
OF_RUNS = ("account_id", "currency", "transactions_read", "entry_sum", "balance", "as_of")

AS_JSON = {"sqlite": "json_object", "postgresql": "json_build_object"}
BALANCED = {
    "sqlite": "json(CASE WHEN balance = entry_sum THEN 'true' ELSE 'false' END)",
    "postgresql": "balance = entry_sum",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column("job", sa.Column("cursor", sa.JSON()))
    op.add_column("job", sa.Column("run_id", sa.String(36)))
    op.add_column("job", sa.Column("last_success", sa.Float()))
    op.add_column("run", sa.Column("result", sa.JSON()))
    op.execute("UPDATE job SET name = 'reconcile' WHERE name = 'reconciliation'")
    op.execute("UPDATE run SET job = 'reconcile' WHERE job = 'reconciliation'")
    op.execute(
        f"UPDATE job SET cursor = {AS_JSON[dialect]}"
        "('source', source, 'sequence', cursor_sequence, 'entry_sum', cursor_sum)"
        " WHERE source <> ''"
    )
    op.execute(
        "UPDATE job SET"
        " run_id = (SELECT id FROM run WHERE run.job = job.name AND status = 'running'"
        " ORDER BY started DESC LIMIT 1),"
        " last_success = (SELECT max(ended) FROM run"
        " WHERE run.job = job.name AND status = 'succeeded')"
    )
    op.execute(
        f"UPDATE run SET result = {AS_JSON[dialect]}"
        "('account_id', account_id, 'currency', currency, 'transactions_read', transactions_read,"
        " 'sum', entry_sum, 'balance', balance, 'as_of', as_of,"
        f" 'balanced', {BALANCED[dialect]}, 'difference', balance - entry_sum)"
        " WHERE balance IS NOT NULL AND entry_sum IS NOT NULL"
    )
    for column in OF_JOBS:
        op.drop_column("job", column)
    for column in OF_RUNS:
        op.drop_column("run", column)
    op.drop_index("run_started", "run")
    op.create_index("run_started", "run", ["started"])
    op.create_index("run_started_of_job", "run", ["job", "started"])


def downgrade() -> None:
    """The accounts are read from their beginning again; what old runs came to is lost."""
    op.drop_index("run_started_of_job", "run")
    op.drop_index("run_started", "run")
    op.create_index("run_started", "run", ["job", "started"])
    op.drop_column("run", "result")
    for name in ("account_id", "currency"):
        op.add_column("run", sa.Column(name, sa.Text()))
    for name in OF_RUNS[2:]:
        op.add_column("run", sa.Column(name, sa.BigInteger()))
    for name in ("cursor", "run_id", "last_success"):
        op.drop_column("job", name)
    op.add_column("job", sa.Column("source", sa.Text(), nullable=False, server_default=""))
    for name in OF_JOBS[1:]:
        op.add_column("job", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE job SET name = 'reconciliation' WHERE name = 'reconcile'")
    op.execute("UPDATE run SET job = 'reconciliation' WHERE job = 'reconcile'")
