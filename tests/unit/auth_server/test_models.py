from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from auth_server.models import Base
from shared.database import Database


def test_the_models_and_the_migrated_schema_agree(empty_database: Database) -> None:
    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
