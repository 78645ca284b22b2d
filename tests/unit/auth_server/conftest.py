import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from auth_server.app import MIGRATIONS, create_app
from auth_server.registry import Registry
from auth_server.signing_keys import signing_keys
from shared.database import Database, migrate
from tests.unit.auth_server.running import BANK, LEDGER, Clock, Running, settings_for


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
    registry.resources.add(BANK, ["Read", "Write"], is_default=True)
    registry.resources.add(LEDGER, ["Append", "Read"], is_default=False)
    made = registry.clients.add(
        "worker", authentication_method="client_secret_basic", may_have_id_token=True
    )
    signing_keys(settings, database, clock).published()
    database.engine.dispose()
    return path, made.secret


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


@pytest.fixture
def on_a_terminal(server: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("auth_server.cli.confirmation.sys", terminal)
    return server
