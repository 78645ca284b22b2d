from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.dialects import postgresql

from client_service.app import MIGRATIONS
from client_service.models import Base, Job, Run, database_time
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


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/empty.db")
    else:
        given = request.getfixturevalue("postgres_database")
        database = Database(given.url, given.password)
    yield database
    database.engine.dispose()


@pytest.fixture
def alembic(empty: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database"] = empty
    return config


OLD_RUN = (
    "INSERT INTO run VALUES (:id, 'reconciliation', 'schedule', :due, 0, NULL, NULL, :status,"
    " NULL, NULL, :due, :ended, :account, 'EUR', 5, 70, :balance, 9)"
)
OLD_JOB = (
    "INSERT INTO job VALUES ('reconciliation', 120, 60, 'host:1:a', 99.5, 7,"
    " 'http://bank#acc-1', 9, 70)"
)


def test_what_the_first_schema_held_is_found_in_the_second(
    empty: Database, alembic: Config
) -> None:
    command.upgrade(alembic, "0001")
    done: dict[str, Any] = {"status": "succeeded", "account": "acc-1", "balance": 77}
    under_way: dict[str, Any] = {"status": "running", "account": None, "balance": None}
    with empty.writing() as session:
        session.execute(text(OLD_JOB))
        session.execute(text(OLD_RUN), {"id": "a", "due": 60, "ended": 61.5, **done})
        session.execute(text(OLD_RUN), {"id": "b", "due": 120, "ended": None, **under_way})

    command.upgrade(alembic, "0002")

    with empty.reading() as session:
        job = session.get_one(Job, "reconcile")
        runs = [session.get_one(Run, name) for name in ("a", "b")]
    assert job.cursor == {"source": "http://bank#acc-1", "sequence": 9, "entry_sum": 70}
    assert (job.done_due, job.fence, job.run_id, job.last_success) == (60, 7, "b", 61.5)
    assert [run.job for run in runs] == ["reconcile", "reconcile"]
    assert runs[1].result is None
    assert runs[0].result == {
        "account_id": "acc-1",
        "currency": "EUR",
        "transactions_read": 5,
        "sum": 70,
        "balance": 77,
        "as_of": 9,
        "balanced": False,
        "difference": 7,
    }


def test_the_schema_can_be_taken_back_to_nothing(empty: Database, alembic: Config) -> None:
    command.upgrade(alembic, "head")

    command.downgrade(alembic, "base")

    assert inspect(empty.engine).get_table_names() == ["alembic_version"]


def test_after_the_upgrade_to_digests_the_reconciliation_begins_anew(
    empty: Database, alembic: Config
) -> None:
    command.upgrade(alembic, "0002")
    with empty.writing() as session:
        cursor = {"source": "http://bank#acc-1", "sequence": 5}
        session.execute(insert(Job), [{"name": "reconcile", "fence": 7, "cursor": cursor}])

    command.upgrade(alembic, "0003")

    with empty.reading() as session:
        job = session.get_one(Job, "reconcile")
    assert (job.cursor, job.fence) == (None, 7)
