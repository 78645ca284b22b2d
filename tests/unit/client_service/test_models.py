from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from client_service.models import Base, database_time
from shared.database import Database


def test_the_models_and_the_migrated_schema_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_the_database_tells_the_time_in_seconds(database: Database) -> None:
    with database.reading() as session:
        first, second = (session.scalar(select(database_time())) for _ in range(2))

    assert first is not None
    assert second is not None
    assert 1.7e9 < first <= second


def test_postgresql_is_asked_for_the_moment_not_for_the_start_of_the_transaction() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statement = select(database_time()).compile(dialect=dialect)

    assert "clock_timestamp()" in str(statement)
