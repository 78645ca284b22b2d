from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from auth_server.app import MIGRATIONS
from auth_server.signing_keys.plan import Rules
from auth_server.signing_keys.store import KeyStore
from shared.database import Database, migrate
from tests.stack.postgres import PostgresDatabase
from tests.unit.auth_server.running import KEY_ENCRYPTION_KEY, START
from tests.unit.auth_server.signing_keys.racing import RULES, store_at


@dataclass(frozen=True)
class Place:
    """A migrated database, as processes of their own can use it."""

    url: str
    password: str | None
    opened: list[Database] = field(default_factory=list)

    def store(
        self, time: float = START, rules: Rules = RULES, fernet: str = KEY_ENCRYPTION_KEY
    ) -> KeyStore:
        return store_at(self.database(), fernet, time, rules)

    def database(self) -> Database:
        """Return a way to it of its own, as a process has."""
        database = Database(self.url, SecretStr(self.password) if self.password else None)
        self.opened.append(database)
        return database


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each of the two kinds, empty."""
    place: Place = request.getfixturevalue(f"on_{request.param}")
    return place


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Place]:
    yield from _migrated(Place(f"sqlite:///{tmp_path / 'keys.db'}", None))


@pytest.fixture
def on_postgresql(postgres_database: PostgresDatabase) -> Iterator[Place]:
    password = postgres_database.password.get_secret_value()
    yield from _migrated(Place(postgres_database.url, password))


def _migrated(place: Place) -> Iterator[Place]:
    migrate(place.database(), MIGRATIONS)
    yield place
    for database in place.opened:
        database.engine.dispose()
