from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from auth_server.app import MIGRATIONS
from auth_server.models import Base, Resource, SigningKey
from auth_server.signing_keys.change import times_of
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
    require_one_default_at_most(database)
    database.engine.dispose()


def test_one_resource_at_most_is_the_default(empty_database: Database) -> None:
    require_one_default_at_most(empty_database)


def require_one_default_at_most(database: Database) -> None:
    others = [Resource(uri=f"urn:{n}", is_default=False, created_at=1) for n in range(2)]
    with database.writing() as session:
        session.add_all([Resource(uri="urn:default", is_default=True, created_at=1), *others])
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(Resource(uri="urn:another", is_default=True, created_at=1))


def test_keys_from_before_they_had_a_spare_go_on_signing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database"] = database
    command.upgrade(config, "0002")
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO signing_keys (kid, algorithm, generation, public_jwk,"
            " encrypted_private_jwk, created_at, active_from)"
            " VALUES ('first', 'RS256', 1, '{}', 'x', 100, 100),"
            " ('second', 'RS256', 2, '{}', 'x', 500, 805)"
        )
    migrate(database, MIGRATIONS)
    with database.reading() as session:
        times = times_of(session.query(SigningKey).order_by(SigningKey.generation).all())
    database.engine.dispose()
    assert [(key.known_from, key.active_from, key.pending_seconds) for key in times] == [
        (100, 100, 0),
        (805, 805, 305),
    ]
