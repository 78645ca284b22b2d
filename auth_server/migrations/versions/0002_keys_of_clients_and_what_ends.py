"""Keys and limits of clients, the life of secrets and keys, used assertions, revoked tokens.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("clients") as clients:
        clients.add_column(sa.Column("access_token_lifetime_seconds", sa.BigInteger()))
        clients.add_column(sa.Column("jwks", sa.Text()))
        clients.add_column(sa.Column("jwks_uri", sa.String(2048)))
        clients.add_column(sa.Column("introspects", sa.String(512)))
        clients.create_foreign_key("fk_clients_introspects", "resources", ["introspects"], ["uri"])
    with op.batch_alter_table("client_secrets") as client_secrets:
        client_secrets.add_column(sa.Column("vault_version", sa.BigInteger()))
        client_secrets.add_column(sa.Column("last_used_at", sa.BigInteger()))
    with op.batch_alter_table("signing_keys") as signing_keys:
        signing_keys.add_column(sa.Column("revoked_at", sa.BigInteger()))
    op.create_table(
        "used_assertions",
        sa.Column("assertion_hash", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("assertion_hash", name="pk_used_assertions"),
    )
    op.create_index("ix_used_assertions_expires_at", "used_assertions", ["expires_at"])
    op.create_table(
        "revoked_tokens",
        sa.Column("jti", sa.String(128), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_revoked_tokens"),
    )
    op.create_index("ix_revoked_tokens_expires_at", "revoked_tokens", ["expires_at"])
