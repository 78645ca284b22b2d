import os
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from demo.compose import why_no_containers
from shared.settings import SECRETS_DIR_VARIABLE, STATE_DIR_VARIABLE
from tests.stack import Stack
from tests.stack.container_stack import ContainerStack, container_stack
from tests.stack.local_stack import LocalStack, local_stack
from tests.stack.postgres import PostgresDatabase, PostgresServer, postgres_server

OURS = ("AUTH_SERVER_", "RESOURCE_SERVER_", "CLIENT_SERVICE_", "OTEL_", SECRETS_DIR_VARIABLE)
HEALED = "seconds until healed"
"""The property in which a test records how long the system took to heal."""
KINDS = {"local": "processes", "docker": "containers"}


def pytest_configure() -> None:
    """Let no test read the settings of a system that a developer runs beside it."""
    for name in list(os.environ):
        if name.startswith(OURS):
            del os.environ[name]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Let one test process have all the tests of what is slow to start, so that it starts once."""
    return ByWhatTheyStart(config, log)


class ByWhatTheyStart(LoadScopeScheduling):
    """Deals out the tests by the servers that they start; of what starts none, a file at a time.

    pytest-xdist's own groups write into the test's id, which pytest 9 no longer lets it do.
    """

    def _split_scope(self, nodeid: str) -> str:
        return started_by(nodeid)


def started_by(nodeid: str) -> str:
    """Return what the test ``nodeid`` starts, or its file."""
    file = nodeid.partition("::")[0]
    folder, _, name = file.rpartition("/")
    parameters = nodeid.partition("[")[2].rstrip("]").split("-")
    if "docker" in parameters or name == "test_the_containers.py":
        return "a stack of containers"
    if name in {"test_faults.py", "test_postgresql_restarts.py"}:
        return "a fragile stack of containers"
    if folder.endswith("tests/flow"):
        of_one_stack = {"test_the_five_arrows.py", "test_silent_connections.py"}
        return "a stack" if name in of_one_stack else "a fragile stack"
    if folder.endswith("tests/conformance"):
        parties = ("bank", "client")
        return next((party for party in parties if party in name), "authorization server")
    return file


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that no process works on it alone at the end."""
    first = (
        "a fragile stack of containers",
        "a fragile stack",
        "a stack of containers",
        "a stack",
        "authorization server",
        "bank",
        "client",
    )
    items.sort(key=lambda item: first.index(s) if (s := started_by(item.nodeid)) in first else 9)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how long the system took to heal, of each fault that a test put right."""
    for report in terminalreporter.getreports("passed"):
        for seconds in (value for name, value in report.user_properties if name == HEALED):
            test = report.nodeid.rpartition("::")[2]
            terminalreporter.write_line(f"healed after {seconds:5.1f} s: {test}")


@pytest.fixture(autouse=True)
def _a_state_folder_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session", params=["local", "docker"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """A running system that tests share, of either kind: none of them may break it."""
    running: Stack = request.getfixturevalue(f"stack_of_{KINDS[request.param]}")
    return running


@pytest.fixture(scope="session")
def stack_of_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    running = local_stack(tmp_path_factory.mktemp("a stack"))
    try:
        running.demo.up()
        yield running
    finally:
        running.demo.down()


@pytest.fixture(scope="session")
def stack_of_containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerStack]:
    problem = why_no_containers()
    if problem:
        pytest.skip(f"the system cannot run in containers: {problem}")
    with container_stack(tmp_path_factory.mktemp("a stack of containers")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the tests of a session share; each takes a database of its own."""
    problem = why_no_containers()
    if problem:
        pytest.skip(f"PostgreSQL cannot run in a container: {problem}")
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    """An empty database on PostgreSQL, for this test alone."""
    with postgres.database() as database:
        yield database
