from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from auth_server.app import MIGRATIONS
from auth_server.models import Base
from shared.database import Database, migrate
from tests.stack.postgres import PostgresDatabase


def test_the_models_and_the_migrated_schema_agree(empty_database: Database) -> None:
    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_they_agree_on_postgresql_too(postgres_database: PostgresDatabase) -> None:
    database = Database(postgres_database.url, postgres_database.password)
    migrate(database, MIGRATIONS)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
    database.engine.dispose()
