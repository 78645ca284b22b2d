import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from client_service.app import MIGRATIONS, ClientService, create_app
from client_service.retries import Retries
from client_service.settings import ClientServiceSettings
from client_service.token_messages import ClientCredentials
from client_service.token_renewal import Work
from client_service.token_source import TokenSource
from shared.database import Database, migrate
from shared.vault import DirectoryVault
from tests.stack.loopback import Asked, LoopbackServer, Reply

CONTROL_TOKEN = "a-control-token-of-the-tests-0123456789"
ENTRIES = [1000, -250, 40, -40, 500]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """An authorization server and a bank in one: it grants tokens and has an account."""
    with LoopbackServer() as running:
        running.reply(
            "/.well-known/openid-configuration",
            Reply(document={"issuer": running.url, "token_endpoint": running.url + "/token"}),
        )
        running.reply("/token", Reply(document=token_answer("first")))
        running.reply("/account", Reply(document=account()))
        running.reply("/transactions", transactions)
        yield running


def token_answer(token: str, **changes: object) -> dict[str, object]:
    return {"access_token": token, "token_type": "Bearer", "expires_in": 300, **changes}


def account(**changes: object) -> dict[str, object]:
    return {
        "account_id": "acc-1",
        "owner": "Ada",
        "currency": "EUR",
        "balance": sum(ENTRIES),
        "as_of": len(ENTRIES),
        "transactions": f"/transactions?until={len(ENTRIES)}",
        **changes,
    }


def transactions(asked: Asked) -> Reply:
    """Answer pages of two, as the bank does: relative links, numbers that rise."""
    after = int(asked.query.get("after", 0))
    listed = [{"sequence": n, "amount": amount} for n, amount in enumerate(ENTRIES, 1) if n > after]
    link = f"/transactions?until={len(ENTRIES)}&after={after + 2}" if len(listed) > 2 else None
    return Reply(document={"account_id": "acc-1", "transactions": listed[:2], "next": link})


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


class HandTimer:
    """A timer that goes by a test's clock: work is done when the test says that time has passed.

    What is to be done at once is, unless it is to wait for the next `pass_to`.
    """

    def __init__(self, clock: Clock, *, at_once: bool = True) -> None:
        self.due_at: float | None = None
        self._clock, self._at_once = clock, at_once
        self._work: Work = lambda: None

    def set(self, seconds: float, work: Work) -> None:
        self.due_at, self._work = self._clock.time + seconds, work
        if self._at_once and seconds <= 0:
            self._ring()

    def stop(self) -> None:
        self.due_at = None

    def pass_to(self, moment: float) -> None:
        """Let time pass, and do what is due on the way."""
        while self.due_at is not None and self.due_at <= moment:
            self._clock.time = max(self._clock.time, self.due_at)
            self._ring()
        self._clock.time = moment

    def _ring(self) -> None:
        self.due_at = None
        self._work()


@pytest.fixture
def timer(clock: Clock) -> HandTimer:
    return HandTimer(clock)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


@pytest.fixture
def tokens(
    server: LoopbackServer, clock: Clock, timer: HandTimer
) -> Iterator[Callable[..., TokenSource]]:
    """Make token sources of ``server``; keywords are fields of the source."""
    session = requests.Session()

    def make(**changes: Any) -> TokenSource:
        fields: dict[str, Any] = {
            "token_url": lambda: server.url + "/token",
            "credentials": lambda: ClientCredentials("client", "s3cret"),
            "scope": "openid",
            "session": session,
            "now": clock,
            "renewal_share": lambda: 0.8,
            "timer": timer,
            "retries": Retries(0),
        }
        return TokenSource(**{**fields, **changes})

    with session:
        yield make


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("client") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    migrate(database, MIGRATIONS)
    database.engine.dispose()
    return path


@pytest.fixture
def database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    copy = tmp_path / "client.db"
    shutil.copyfile(migrated_file, copy)
    database = Database(f"sqlite:///{copy}")
    yield database
    database.engine.dispose()


@pytest.fixture
def vault(tmp_path: Path) -> DirectoryVault:
    vault = DirectoryVault(tmp_path / "vault")
    vault.write("bank-reconciler", {"client_id": "client", "client_secret": "s3cret"})
    return vault


@pytest.fixture
def make_app(
    database: Database, server: LoopbackServer, vault: DirectoryVault, tmp_path: Path
) -> Iterator[Callable[..., Flask]]:
    """Make applications on one database that ask ``server``; keywords are settings."""
    made: list[ClientService] = []

    def make(**settings: Any) -> Flask:
        values = {
            "database_url": database.engine.url.render_as_string(),
            "vault_directory": tmp_path / "vault",
            "issuer": server.url,
            "api_url": server.url,
            "control_token": CONTROL_TOKEN,
            "token_retry_seconds": 0,
            "api_retry_seconds": 0,
            "wait_seconds": 0,
            "patience_seconds": 0,
        }
        app = create_app(ClientServiceSettings(**{**values, **settings}))
        made.append(app.extensions["client_service"])
        return app

    yield make
    for service in made:
        service.worker.stop(10)
        service.tokens.stop()
        service.provider.shutdown()
        service.database.engine.dispose()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def service(app: Flask) -> ClientService:
    running: ClientService = app.extensions["client_service"]
    return running
