import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from auth_server.app import MIGRATIONS, AuthServer, create_app
from auth_server.registry import Registry
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import signing_keys
from shared.database import Database, migrate

BANK = "http://localhost:9001"
LEDGER = "https://ledger.example"
KEY_ENCRYPTION_KEY = Fernet.generate_key().decode()
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


@dataclass
class Running:
    """An authorization server and a registered client of it."""

    app: Flask
    clock: Clock
    secret: str

    @property
    def parts(self) -> AuthServer:
        parts = self.app.extensions["auth_server"]
        assert isinstance(parts, AuthServer)
        return parts

    @property
    def http(self) -> FlaskClient:
        return self.app.test_client()

    def basic(self, client_id: str = "worker", secret: str | None = None) -> str:
        pair = f"{client_id}:{self.secret if secret is None else secret}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def ask(self, *more: tuple[str, str], authorization: str | None = None) -> TestResponse:
        """Ask for a token as the registered client, with more parameters."""
        return self.post(
            urlencode([("grant_type", "client_credentials"), *more]),
            authorization=authorization or self.basic(),
        )

    def post(
        self,
        body: str | bytes,
        *,
        authorization: str | None = None,
        path: str = "/oidc/token",
        content_type: str = "application/x-www-form-urlencoded",
    ) -> TestResponse:
        headers = {"Authorization": authorization} if authorization is not None else {}
        return self.http.post(path, data=body, headers=headers, content_type=content_type)

    def command(self, *arguments: str, given: bytes | None = None) -> Any:
        with mock.patch("auth_server.cli.configure_logging"):
            return self.app.test_cli_runner().invoke(args=arguments, input=given)


@pytest.fixture(autouse=True)
def state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LOCAL_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A migrated database with two resources, a client and its keys, made once; and its secret."""
    path = tmp_path_factory.mktemp("seed") / "auth_server.db"
    settings = settings_for(path)
    database = Database(settings.database_url)
    migrate(database, MIGRATIONS)
    clock = Clock()
    registry = Registry(database, clock)
    registry.add_resource(BANK, ["Read", "Write"], is_default=True)
    registry.add_resource(LEDGER, ["Append", "Read"], is_default=False)
    made = registry.add_client(
        "worker", authentication_method="client_secret_basic", may_have_id_token=True
    )
    signing_keys(settings, database, clock).published()
    database.engine.dispose()
    return path, made.secret


def settings_for(path: Path, **settings: object) -> AuthServerSettings:
    values = {
        "database_url": f"sqlite:///{path}",
        "key_encryption_key": SecretStr(KEY_ENCRYPTION_KEY),
        "transport": "plain-http",
    }
    return AuthServerSettings(**{**values, **settings})  # type: ignore[arg-type]


@pytest.fixture
def make(seed: tuple[Path, str], tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Running]]:
    """Make servers on the seeded database; keywords are settings."""
    copy = tmp_path / "auth_server.db"
    shutil.copyfile(seed[0], copy)
    made: list[Running] = []

    def make(**settings: object) -> Running:
        running = Running(create_app(settings_for(copy, **settings), clock), clock, seed[1])
        made.append(running)
        return running

    yield make
    for running in made:
        running.parts.database.engine.dispose()


@pytest.fixture
def server(make: Callable[..., Running]) -> Running:
    return make()


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    migrate(database, MIGRATIONS)
    yield database
    database.engine.dispose()
