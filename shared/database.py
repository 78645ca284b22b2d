"""The database of a service: SQLite by default, any other by its URL."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import SecretStr
from sqlalchemy import (
    URL,
    ClauseElement,
    Connection,
    Engine,
    Executable,
    MetaData,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import QueuePool

from shared.health import NotReadyError

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

BUSY_TIMEOUT_SECONDS = 10
POSTGRESQL_PATIENCE = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",  # milliseconds
}
"""What libpq waits for, in seconds: by its defaults a server that vanished holds us up for hours.

It does not bound a server that takes in a statement and never answers it."""
IMPATIENT_SECONDS = 0.05
WRITES = "sqlite_writes"
PATIENCE = "sqlite_patience_seconds"

Rows = Sequence[Sequence[Any]]


class Database:
    """Sessions on one database: `reading()` for a snapshot, `writing()` for a change.

    Where one statement is all, `at_once()` does with a tenth of the work.
    """

    def __init__(self, url: str, password: SecretStr | None = None) -> None:
        self.engine = _engine(with_password(url, password))
        self._writer = self.engine.execution_options(**{WRITES: True})
        self._impatient_writer = self._writer.execution_options(**{PATIENCE: IMPATIENT_SECONDS})
        self._impatient = self.engine.execution_options(**{PATIENCE: IMPATIENT_SECONDS})
        self._autocommit: Engine | None = None
        self._own = _OfEachThread(self.engine)
        if self.engine.dialect.name != "sqlite":
            self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        event.listen(self.engine, "engine_disposed", self._dispose)

    def _dispose(self, _engine: Engine) -> None:
        """Give up the connections that threads have of their own, with those of the engine."""
        self._own = _OfEachThread(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that changes nothing; it is rolled back at the end."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that is committed at the end, or rolled back where an error leaves it.

        On SQLite it takes the write lock at once: a transaction that reads first and then wants
        to write fails where another wrote in between, whatever the busy timeout is.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def writing_if_free(self) -> Iterator[Session]:
        """Open a session as `writing()` does, for what is better left undone than waited for.

        Raises OperationalError where another has what it needs locked for more than a moment.
        """
        with Session(self._impatient_writer, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "postgresql":
                session.execute(text(f"SET LOCAL lock_timeout = {int(IMPATIENT_SECONDS * 1000)}"))
            yield session

    def at_once(self, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
        """Execute ``statement`` as a transaction of its own, and return its rows, if it has any.

        What it changes is committed, and as durable as any commit, when this returns. On SQLite
        the columns are as the driver gives them: a boolean is 0 or 1. There the statement goes
        past SQLAlchemy and its pool, whose part in it would be 50 µs or more, a tenth of a token;
        one that fails goes to SQLAlchemy as well, which waits for locks and raises its own errors.
        """
        if self._autocommit is not None:
            return _rows(self._autocommit, statement, parameters)
        if not isinstance(self.engine.pool, QueuePool):  # in memory, of which each thread has one
            return _rows(self._writer, statement, parameters)
        began = time.monotonic()
        try:
            own = self._own.connection  # held, as it is closed when nobody does, `_dispose` say
            return own.execute(_for_sqlite(statement), parameters).fetchall()
        except sqlite3.Error:
            has_waited = time.monotonic() - began > BUSY_TIMEOUT_SECONDS / 2
            engine = self._impatient if has_waited else self.engine
            return _rows(engine, statement, parameters)

    def check(self) -> None:
        """Ask the database for its schema's version; raise NotReadyError where it has none."""
        try:
            with self.reading() as session:
                session.execute(text("SELECT version_num FROM alembic_version"))
        except SQLAlchemyError as error:
            raise NotReadyError(f"database: {type(error).__name__}") from error


class _OfEachThread(threading.local):
    """A connection for each thread, as long as the thread lives; none before it is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @cached_property
    def connection(self) -> "_OwnConnection":
        """Return the connection of this thread."""
        connection = self._engine.raw_connection()
        driver = connection.driver_connection
        connection.detach()
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
        return _OwnConnection(driver)


class _OwnConnection:
    """A connection to SQLite that is none of the pool's, which would hold only so many."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self.execute = driver.execute

    def __del__(self) -> None:
        self._driver.close()


def with_password(url: str, password: SecretStr | None) -> URL:
    """Return ``url`` with the password that rests apart from it; its text form hides it."""
    full_url = make_url(url)
    return full_url.set(password=password.get_secret_value()) if password else full_url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return _pooled_engine(url)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _pooled_engine(url: URL) -> Engine:
    """Return an engine that notices at each use of a connection that it has ended."""
    if url.get_driver_name() in {"psycopg", "psycopg2"}:
        url = url.set(query={**POSTGRESQL_PATIENCE, **url.query})  # what the URL says comes first
    return create_engine(url, pool_pre_ping=True, pool_timeout=BUSY_TIMEOUT_SECONDS)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """Switch on what SQLite leaves off; and begin transactions ourselves, not at the driver's."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose a commit at a power cut
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    _be_patient(connection, options.get(PATIENCE, BUSY_TIMEOUT_SECONDS))
    writes = options.get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


def _be_patient(connection: Connection, seconds: float) -> None:
    """Let SQLite wait so long for a lock; the connection may have served another before."""
    if connection.info.get(PATIENCE, BUSY_TIMEOUT_SECONDS) != seconds:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        connection.info[PATIENCE] = seconds


def _rows(engine: Engine, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
    with engine.begin() as connection:
        result = connection.execute(statement, parameters)
        return result.all() if result.returns_rows else ()


@lru_cache
def _for_sqlite(statement: Executable) -> str:
    """Return the text of ``statement``, with its parameters by name."""
    assert isinstance(statement, ClauseElement)
    compiled = statement.compile(dialect=SQLiteDialect(paramstyle="named"))
    return str(compiled)


def insert_on(dialect: str, table: type[DeclarativeBase]) -> "postgresql.Insert | sqlite.Insert":
    """Return an INSERT in the dialect of that name: one that can say what to do on a conflict."""
    if dialect != "postgresql":
        return sqlite.insert(table)
    # Here, as it takes a twentieth of a service's start, where it is not the database's.
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def migrate(database: Database, migrations: Path) -> None:
    """Bring the schema of ``database`` to the newest of the Alembic scripts in ``migrations``."""
    # Here, as only a migration needs Alembic, and it takes a tenth of a service's start.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["database"] = database
    command.upgrade(config, "head")


def run_migrations(metadata: MetaData) -> None:
    """Do the work of an Alembic `env.py`: each service's is this one call.

    One transaction holds the whole upgrade; on SQLite it holds the write lock too, so two
    processes that migrate at once take turns.
    """
    from alembic import context

    database: Database = context.config.attributes["database"]
    with database.engine.execution_options(**{WRITES: True}).begin() as connection:
        context.configure(connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


def migrate_command(database: Database, migrations: Path) -> click.Command:
    """Return the command `flask --app SERVICE.app migrate`."""

    @click.command("migrate", help="Bring the database's schema up to date.")
    def run() -> None:
        migrate(database, migrations)
        click.echo("the schema is up to date")

    return run
