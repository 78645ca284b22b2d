from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from auth_server.app import MIGRATIONS
from shared.database import migrate
from tests.stack.postgres import PostgresDatabase
from tests.unit.auth_server.registry.rotating import Place, Rotating
from tests.unit.auth_server.running import Clock


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A database and a vault, with a client that has its secret there."""
    return prepared(Place(f"sqlite:///{tmp_path / 'auth_server.db'}", None, tmp_path / "vault"))


@pytest.fixture(params=["sqlite", "postgresql"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """As ``place``, on either database."""
    if request.param == "sqlite":
        return cast(Place, request.getfixturevalue("place"))
    database: PostgresDatabase = request.getfixturevalue("postgres_database")
    return prepared(Place(database.url, database.password, tmp_path / "vault"))


def prepared(place: Place) -> Place:
    with place.opened() as opened:
        migrate(opened.database, MIGRATIONS)
        opened.register()
    return place


@pytest.fixture
def rotating(place: Place, clock: Clock) -> Iterator[Rotating]:
    with place.opened(clock) as opened:
        yield opened
