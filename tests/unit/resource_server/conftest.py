import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from pydantic import SecretStr
from werkzeug.test import TestResponse

from resource_server.app import MIGRATIONS, create_app
from resource_server.demo_ledger import seed_demo
from resource_server.settings import ResourceServerSettings
from shared.database import Database, migrate
from tests.stack.issuer import OwnIssuer
from tests.stack.postgres import PostgresDatabase, PostgresServer

RESOURCE = "http://localhost:9001"


@pytest.fixture
def issuer() -> Iterator[OwnIssuer]:
    with OwnIssuer(RESOURCE) as running:
        yield running


@pytest.fixture(scope="session")
def seeded_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with the demo's data, made once; tests get a copy each."""
    path = tmp_path_factory.mktemp("bank") / "seeded.db"
    database = Database(f"sqlite:///{path}")
    migrate(database, MIGRATIONS)
    with database.writing() as session:
        seed_demo(session)
    database.engine.dispose()
    return path


@pytest.fixture
def database(seeded_database: Path, tmp_path: Path) -> Iterator[Database]:
    copy = tmp_path / "bank.db"
    shutil.copyfile(seeded_database, copy)
    database = Database(f"sqlite:///{copy}")
    yield database
    database.engine.dispose()


@pytest.fixture
def bank(database: Database, issuer: OwnIssuer) -> Iterator[Callable[..., Flask]]:
    """Make banks on the demo's data that trust ``issuer``; keywords are settings."""
    made: list[Flask] = []

    def make(**settings: object) -> Flask:
        url = database.engine.url.render_as_string()
        values = {"database_url": url, "issuer": issuer.url, "transport": "plain-http"}
        app = create_app(ResourceServerSettings(**{**values, **settings}))  # type: ignore[arg-type]
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["resource_server"].engine.dispose()


@pytest.fixture
def ask(bank: Callable[..., Flask], issuer: OwnIssuer) -> Callable[..., TestResponse]:
    """Ask a bank with a good token: `ask(method, path, client_id=…, scope=…, headers=…)`."""
    client = bank().test_client()

    def ask(
        method: str,
        path: str,
        *,
        client_id: str = "own-client",
        scope: str,
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
    ) -> TestResponse:
        token = issuer.token("ed", claims={"client_id": client_id, "scope": scope})
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        return client.open(path, method=method, headers=sent, data=data)

    return ask


@pytest.fixture
def get(ask: Callable[..., TestResponse]) -> Callable[..., TestResponse]:
    """Ask for something: `get(path, client_id=…, scope=…, headers=…)`."""
    return lambda path, scope="Read", **options: ask("GET", path, scope=scope, **options)


@pytest.fixture(params=["sqlite", "postgresql"])
def book(request: pytest.FixtureRequest) -> Database:
    """A book without accounts, on either database."""
    book: Database = request.getfixturevalue(f"{request.param}_book")
    return book


@pytest.fixture
def sqlite_book(tmp_path: Path) -> Iterator[Database]:
    with migrated(f"sqlite:///{tmp_path / 'book.db'}") as database:
        yield database


@pytest.fixture
def postgresql_book(
    postgres: PostgresServer, migrated_postgresql: PostgresDatabase
) -> Iterator[Database]:
    with postgres.database(like=migrated_postgresql) as copy:
        database = Database(copy.url, copy.password)
        yield database
        database.engine.dispose()


@pytest.fixture(scope="session")
def migrated_postgresql(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    """A migrated database on PostgreSQL, made once; tests get a copy each."""
    with postgres.database() as empty:
        with migrated(empty.url, empty.password):
            pass
        yield empty


@contextmanager
def migrated(url: str, password: SecretStr | None = None) -> Iterator[Database]:
    database = Database(url, password)
    migrate(database, MIGRATIONS)
    yield database
    database.engine.dispose()
