"""When every copy of the JWKS has a key, and keys of which nobody has decided when they sign.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("signing_keys") as signing_keys:
        signing_keys.add_column(sa.Column("known_from", sa.BigInteger()))
        signing_keys.add_column(sa.Column("pending_seconds", sa.BigInteger()))
        signing_keys.alter_column("active_from", existing_type=sa.BigInteger(), nullable=True)
    # Until now a key began to sign as soon as it was known.
    op.execute(
        "UPDATE signing_keys"
        " SET known_from = active_from, pending_seconds = active_from - created_at"
    )
    with op.batch_alter_table("signing_keys") as signing_keys:
        signing_keys.alter_column("known_from", existing_type=sa.BigInteger(), nullable=False)
        signing_keys.alter_column("pending_seconds", existing_type=sa.BigInteger(), nullable=False)
