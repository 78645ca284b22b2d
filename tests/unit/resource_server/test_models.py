import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from resource_server.app import MIGRATIONS
from resource_server.models import ENTRY, Account, AccountAccess, Base
from shared.database import Database


def test_the_models_and_the_migrated_schema_agree(book: Database) -> None:
    with book.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)

    assert differences == []


def test_a_client_has_one_default_account_at_most(book: Database) -> None:
    with book.writing() as session:
        session.add_all([Account(id=f"account-{n}", owner="One", currency="EUR") for n in range(4)])
        session.flush()
        session.add_all([access(0, is_default=True), access(1), access(2)])
    with pytest.raises(IntegrityError), book.writing() as session:
        session.add(access(3, is_default=True))


def access(account: int, *, is_default: bool = False) -> AccountAccess:
    return AccountAccess(client_id="worker", account_id=f"account-{account}", is_default=is_default)


def test_the_view_of_entries_has_the_columns_that_are_read(database: Database) -> None:
    columns = [column["name"] for column in inspect(database.engine).get_columns("entry")]

    assert sorted(columns) == sorted(ENTRY.c.keys())


def test_the_check_constraints_of_the_models_are_those_of_the_schema(database: Database) -> None:
    inspector = inspect(database.engine)
    migrated = {
        str(check["name"])
        for table in Base.metadata.tables
        for check in inspector.get_check_constraints(table)
    }

    assert migrated == {
        "ck_account_not_overdrawn",
        "ck_account_sequence_not_negative",
        "ck_transfer_amount_positive",
        "ck_transfer_two_accounts",
    }


def test_the_schema_can_be_taken_back_to_nothing(book: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database"] = book
    command.downgrade(config, "base")
    inspector = inspect(book.engine)

    assert (inspector.get_table_names(), inspector.get_view_names()) == (["alembic_version"], [])
