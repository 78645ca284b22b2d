"""Which vault entry a secret rests in, and the ends of secrets by their time.

Revision: 0003b
"""

import sqlalchemy as sa
from alembic import op

revision = "0003b"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("client_secrets", sa.Column("vault_entry", sa.String(128), nullable=True))
    op.create_index("ix_client_secrets_expires_at", "client_secrets", ["expires_at"])
