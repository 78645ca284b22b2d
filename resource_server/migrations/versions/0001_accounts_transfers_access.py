"""Make accounts, transfers, their view as entries, and access."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ENTRY_VIEW = """
CREATE VIEW entry AS
SELECT debit_account_id AS account_id, debit_sequence AS sequence, -amount AS amount,
       credit_account_id AS counterparty, booked_at, reference
FROM transfer
UNION ALL
SELECT credit_account_id, credit_sequence, amount, debit_account_id, booked_at, reference
FROM transfer
"""


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("lowest_balance", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("id", "currency", name="uq_account_id_currency"),
        sa.CheckConstraint("balance >= lowest_balance", name=op.f("ck_account_not_overdrawn")),
        sa.CheckConstraint("last_sequence >= 0", name=op.f("ck_account_sequence_not_negative")),
    )
    op.create_table(
        "transfer",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("debit_account_id", sa.String(128), nullable=False),
        sa.Column("debit_sequence", sa.BigInteger(), nullable=False),
        sa.Column("credit_account_id", sa.String(128), nullable=False),
        sa.Column("credit_sequence", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reference", sa.String(140), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_transfer"),
        sa.ForeignKeyConstraint(
            ["debit_account_id", "currency"],
            ["account.id", "account.currency"],
            name="fk_transfer_debit_account_id_currency",
        ),
        sa.ForeignKeyConstraint(
            ["credit_account_id", "currency"],
            ["account.id", "account.currency"],
            name="fk_transfer_credit_account_id_currency",
        ),
        sa.UniqueConstraint(
            "debit_account_id", "debit_sequence", name="uq_transfer_debit_account_id_debit_sequence"
        ),
        sa.UniqueConstraint(
            "credit_account_id",
            "credit_sequence",
            name="uq_transfer_credit_account_id_credit_sequence",
        ),
        sa.CheckConstraint(
            "amount BETWEEN 1 AND 9007199254740991", name=op.f("ck_transfer_amount_positive")
        ),
        sa.CheckConstraint(
            "debit_account_id <> credit_account_id", name=op.f("ck_transfer_two_accounts")
        ),
    )
    op.create_table(
        "account_access",
        sa.Column("client_id", sa.String(128), nullable=False),
        sa.Column("account_id", sa.String(128), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "account_id", name="pk_account_access"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name="fk_account_access_account_id"
        ),
    )
    op.create_index(
        "uq_account_access_default",
        "account_access",
        ["client_id"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.execute(ENTRY_VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW entry")
    op.drop_table("account_access")
    op.drop_table("transfer")
    op.drop_table("account")
