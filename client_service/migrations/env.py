"""Alembic's entry: brings the tables of `models.py` into the database."""

from client_service.models import Base
from shared.database import run_migrations

run_migrations(Base.metadata)
