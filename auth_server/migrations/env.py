"""Alembic's entry: the shared routine over the tables of this service."""

from auth_server.models import Base
from shared.database import run_migrations

run_migrations(Base.metadata)
