import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from resource_server.app import MIGRATIONS, create_app
from resource_server.demo_ledger import seed_demo
from resource_server.settings import ResourceServerSettings
from shared.database import Database, migrate
from tests.stack.issuer import OwnIssuer

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
def get(bank: Callable[..., Flask], issuer: OwnIssuer) -> Callable[..., TestResponse]:
    """Ask a bank with a good token: `get(path, client_id=…, scope=…)`."""
    client = bank().test_client()

    def get(path: str, client_id: str = "own-client", scope: str = "Read") -> TestResponse:
        token = issuer.token("ed", claims={"client_id": client_id, "scope": scope})
        return client.get(path, headers={"Authorization": f"Bearer {token}"})

    return get
