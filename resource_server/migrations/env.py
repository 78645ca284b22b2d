"""Alembic's entry: the schema of the bank."""

from resource_server.models import Base
from shared.database import run_migrations

run_migrations(Base.metadata)
