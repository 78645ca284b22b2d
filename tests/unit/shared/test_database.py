import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.database import IMPATIENT_SECONDS, Database, migrate, migrate_command, with_password
from shared.health import NotReadyError

ENV = """
from sqlalchemy import MetaData
from shared.database import run_migrations
run_migrations(MetaData())
"""
FIRST = """
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.create_table("counter", sa.Column("value", sa.Integer, nullable=False))
    op.execute("INSERT INTO counter VALUES (0)")
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "versions" / "0001_first.py").write_text(FIRST)
    return folder


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'deep' / 'bank.db'}")
    yield database
    database.engine.dispose()


def value_in(database: Database) -> int:
    with database.reading() as session:
        return int(session.execute(text("SELECT value FROM counter")).scalar_one())


def test_a_migrated_database_is_ready_and_migrating_it_again_changes_nothing(
    database: Database, migrations: Path
) -> None:
    migrate(database, migrations)
    migrate(database, migrations)

    database.check()
    assert value_in(database) == 0


def test_a_database_without_a_schema_is_not_ready(database: Database) -> None:
    with pytest.raises(NotReadyError, match="OperationalError"):
        database.check()


def test_the_command_migrates(database: Database, migrations: Path) -> None:
    result = CliRunner().invoke(migrate_command(database, migrations))

    assert (result.exit_code, result.output) == (0, "the schema is up to date\n")
    assert value_in(database) == 0


def test_two_writers_that_read_first_take_turns(database: Database, migrations: Path) -> None:
    migrate(database, migrations)
    together = threading.Barrier(2)

    def add_one() -> None:
        together.wait()
        with database.writing() as session:
            value = session.execute(text("SELECT value FROM counter")).scalar_one()
            session.execute(text("UPDATE counter SET value = :value"), {"value": value + 1})

    threads = [threading.Thread(target=add_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert value_in(database) == 2


def test_what_is_better_left_undone_is_not_waited_for(database: Database, migrations: Path) -> None:
    migrate(database, migrations)

    def add_one_if_free() -> None:
        with database.writing_if_free() as session:
            session.execute(text("UPDATE counter SET value = value + 1"))

    with database.writing() as session:
        session.execute(text("UPDATE counter SET value = 5"))
        with pytest.raises(OperationalError, match="locked"):
            add_one_if_free()
    add_one_if_free()

    assert value_in(database) == 6


def test_after_an_impatient_writer_the_next_one_waits_as_ever(
    database: Database, migrations: Path
) -> None:
    migrate(database, migrations)
    with database.writing_if_free() as session:
        impatient = session.execute(text("PRAGMA busy_timeout")).scalar_one()
    with database.writing() as session:
        patient = session.execute(text("PRAGMA busy_timeout")).scalar_one()

    assert (impatient, patient) == (50, 10_000)


def test_a_change_that_an_error_leaves_is_rolled_back(database: Database, migrations: Path) -> None:
    migrate(database, migrations)

    def fail_after_a_change() -> None:
        with database.writing() as session:
            session.execute(text("UPDATE counter SET value = 9"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_a_change()

    assert value_in(database) == 0


def test_what_a_reader_changes_is_not_kept(database: Database, migrations: Path) -> None:
    migrate(database, migrations)

    with database.reading() as session:
        session.execute(text("UPDATE counter SET value = 9"))

    assert value_in(database) == 0


def test_a_file_is_written_ahead_with_foreign_keys_checked(database: Database) -> None:
    with database.reading() as session:
        journal = session.execute(text("PRAGMA journal_mode")).scalar_one()
        foreign_keys = session.execute(text("PRAGMA foreign_keys")).scalar_one()

    assert (journal, foreign_keys) == ("wal", 1)


def test_the_password_joins_the_url_and_is_not_shown() -> None:
    url = with_password("postgresql://bank@db/bank", SecretStr("hunter2"))

    assert url.password == "hunter2"
    assert "hunter2" not in str(url)


def test_a_postgresql_that_takes_the_call_and_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        database = Database(f"postgresql+psycopg://bank@127.0.0.1:{port}/bank?connect_timeout=2")
        began = time.monotonic()

        with pytest.raises(OperationalError, match="timeout"), database.reading() as session:
            session.execute(text("SELECT 1"))

    assert time.monotonic() - began < 10


def test_what_the_url_of_a_postgresql_says_of_patience_comes_before_ours() -> None:
    database = Database("postgresql+psycopg://bank@db/bank?connect_timeout=7")
    query = database.engine.url.query

    assert (query["connect_timeout"], query["tcp_user_timeout"]) == ("7", "10000")


_ADD = text("UPDATE counter SET value = value + :more")
_VALUE = text("SELECT value FROM counter")


def test_one_statement_is_committed_at_once(database: Database, migrations: Path) -> None:
    migrate(database, migrations)
    rows = database.at_once(_ADD, {"more": 2})
    other = Database(str(database.engine.url))
    assert (list(rows), list(other.at_once(_VALUE, {}))) == ([], [(2,)])
    other.engine.dispose()


def test_what_is_done_at_once_leaves_no_transaction_behind(
    database: Database, migrations: Path
) -> None:
    migrate(database, migrations)
    database.at_once(_VALUE, {})
    database.at_once(_ADD, {"more": 1})
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    assert driver.in_transaction is False


def test_one_statement_that_fails_is_an_error_of_sqlalchemys(database: Database) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        database.at_once(_VALUE, {})


def test_one_statement_waits_for_a_lock_though_its_connection_served_an_impatient_one(
    database: Database, migrations: Path
) -> None:
    migrate(database, migrations)
    with database.writing_if_free() as session:
        session.execute(_VALUE)
    with ThreadPoolExecutor() as pool:
        with database.writing() as session:
            session.execute(_ADD, {"more": 1})
            added = pool.submit(database.at_once, _ADD, {"more": 1})
            time.sleep(10 * IMPATIENT_SECONDS)
        added.result()
    assert value_in(database) == 2


def test_one_statement_waits_for_a_lock_no_longer_than_any_other(
    database: Database, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database.BUSY_TIMEOUT_SECONDS", 1)
    one_second = Database(str(database.engine.url))
    migrate(database, migrations)
    with database.writing() as session:
        session.execute(_ADD, {"more": 1})
        began = time.monotonic()
        with pytest.raises(OperationalError, match="locked"):
            one_second.at_once(_ADD, {"more": 1})
        waited = time.monotonic() - began
    one_second.engine.dispose()

    assert 0.9 < waited < 1.8


def test_in_memory_one_statement_sees_what_a_session_wrote() -> None:
    in_memory = Database("sqlite://")
    with in_memory.writing() as session:
        session.execute(text("CREATE TABLE counter (value INTEGER)"))
        session.execute(text("INSERT INTO counter VALUES (1)"))
    in_memory.at_once(_ADD, {"more": 1})

    assert (in_memory.at_once(_VALUE, {})[0][0], value_in(in_memory)) == (2, 2)


def test_a_threads_own_connection_ends_with_the_thread(
    database: Database, migrations: Path
) -> None:
    migrate(database, migrations)
    own: list[sqlite3.Connection] = []

    def use() -> None:
        database.at_once(_VALUE, {})
        own.append(database._own.connection._driver)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        own[0].execute("SELECT 1")


WHILE_IT_IS_DISPOSED = """
import sys, threading, time
from sqlalchemy import text
from shared.database import Database
database = Database(sys.argv[1])
many = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3000) "
            "SELECT x FROM n")
found = set()
def use():
    for _ in range(100):
        found.add(len(database.at_once(many, {})))
threads = [threading.Thread(target=use) for _ in range(2)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    time.sleep(0.002)
    database.engine.dispose()
print(found)
"""


def test_a_statement_under_way_survives_that_the_connections_are_given_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    program = [sys.executable, "-c", WHILE_IT_IS_DISPOSED, url]

    ended = subprocess.run(program, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "{3000}\n", "")
