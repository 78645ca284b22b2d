"""The first tables: resources, clients, secrets, signing keys.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "resources",
        sa.Column("uri", sa.String(512), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uri", name="pk_resources"),
    )
    op.create_index(
        "uq_resources_default",
        "resources",
        ["is_default"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_table(
        "resource_scopes",
        sa.Column("resource", sa.String(512), nullable=False),
        sa.Column("scope", sa.String(128), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource"], ["resources.uri"], name="fk_resource_scopes_resource"
        ),
        sa.PrimaryKeyConstraint("resource", "scope", name="pk_resource_scopes"),
    )
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(128), nullable=False),
        sa.Column("authentication_method", sa.String(64), nullable=False),
        sa.Column("may_have_id_token", sa.Boolean(), nullable=False),
        sa.Column("default_resource", sa.String(512), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["default_resource"], ["resources.uri"], name="fk_clients_default_resource"
        ),
        sa.PrimaryKeyConstraint("client_id", name="pk_clients"),
    )
    op.create_table(
        "client_scopes",
        sa.Column("client_id", sa.String(128), nullable=False),
        sa.Column("resource", sa.String(512), nullable=False),
        sa.Column("scope", sa.String(128), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.client_id"], name="fk_client_scopes_client_id"
        ),
        sa.ForeignKeyConstraint(
            ["resource", "scope"],
            ["resource_scopes.resource", "resource_scopes.scope"],
            name="fk_client_scopes_resource",
        ),
        sa.PrimaryKeyConstraint("client_id", "resource", "scope", name="pk_client_scopes"),
    )
    op.create_table(
        "client_secrets",
        sa.Column("secret_id", sa.String(128), nullable=False),
        sa.Column("client_id", sa.String(128), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.client_id"], name="fk_client_secrets_client_id"
        ),
        sa.PrimaryKeyConstraint("secret_id", name="pk_client_secrets"),
    )
    op.create_index("ix_client_secrets_client_id", "client_secrets", ["client_id"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(128), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("public_jwk", sa.Text(), nullable=False),
        sa.Column("encrypted_private_jwk", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("active_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
        sa.UniqueConstraint("algorithm", "generation", name="uq_signing_keys_algorithm"),
    )
