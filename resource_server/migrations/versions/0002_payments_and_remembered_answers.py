"""Make payments, and the answers that are remembered under idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payment",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column(
            "transfer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name="pk_payment"),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["transfer.id"], name="fk_payment_transfer_id"
        ),
        sa.UniqueConstraint("transfer_id", name="uq_payment_transfer_id"),
    )
    op.create_table(
        "remembered_answer",
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("key_digest", name="pk_remembered_answer"),
    )
    op.create_index("ix_remembered_answer_ends_at", "remembered_answer", ["ends_at"])


def downgrade() -> None:
    op.drop_table("remembered_answer")
    op.drop_table("payment")
