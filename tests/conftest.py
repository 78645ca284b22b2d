import fcntl
import gc
import logging
import os
import secrets
from collections.abc import Generator, Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from demo.compose import remove_images, why_no_containers
from demo.container_stack import ContainerStack as DemoContainers
from demo.local_stack import Ports
from shared.settings import SECRETS_DIR_VARIABLE, STATE_DIR_VARIABLE
from tests.stack import Stack
from tests.stack.container_stack import ContainerStack, container_stack
from tests.stack.local_stack import LocalStack, free_ports, local_stack
from tests.stack.postgres import PostgresDatabase, PostgresServer, postgres_server

OURS = ("AUTH_SERVER_", "RESOURCE_SERVER_", "CLIENT_SERVICE_", "OTEL_", SECRETS_DIR_VARIABLE)
HEALED = "seconds until healed"
"""The property in which a test records how long the system took to heal."""
README_TESTS = "test_the_readmes_commands.py"
NO_CONTAINERS = "the system cannot run in containers: "
KINDS = {"local": "processes", "docker": "containers"}


def pytest_configure() -> None:
    """Let no test read the settings of a system that a developer runs beside it."""
    for name in list(os.environ):
        if name.startswith(OURS):
            del os.environ[name]


@pytest.fixture(autouse=True)
def garbage_is_collected() -> Iterator[None]:
    """Let no test go on without, after one that has read a service's `gunicorn.conf.py`."""
    yield
    gc.enable()


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
    if name == "test_stopping_and_starting.py" or (name == README_TESTS and "docker" in parameters):
        return "a fragile stack of containers"
    if "docker" in parameters and name.endswith(("_bank.py", "_client.py")):
        return "bank and client in containers"
    if "docker" in parameters or name == "test_the_containers.py":
        return "a stack of containers"
    if name in {"test_faults.py", "test_postgresql_restarts.py"}:
        return "containers with faults"
    if name == "test_two_replicas.py":
        return "two of each container"
    if name == "test_the_issuers_life.py":
        return "an issuer's life"
    if folder.endswith("tests/flow"):
        of_one_stack = {
            "test_the_five_arrows.py",
            "test_silent_connections.py",
            "test_the_audit_trail.py",
            "test_metrics.py",
            "test_a_payment.py",
            "test_the_client_can_be_copied.py",
            "test_a_disturbed_network.py",
        }
        return "a stack" if name in of_one_stack else "a fragile stack"
    if folder.endswith("tests/attacks"):
        return "attacked bank"
    if folder.endswith("tests/conformance"):
        parties = ("bank", "client")
        return next((party for party in parties if party in name), "authorization server")
    return file


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that no process works on it alone at the end."""
    first = (
        "a stack of containers",
        "bank and client in containers",
        "two of each container",
        "containers with faults",
        "a fragile stack of containers",
        "a fragile stack",
        "a stack",
        "an issuer's life",
        "authorization server",
        "bank",
        "attacked bank",
        "client",
    )
    order = {group: number for number, group in enumerate(first)}
    items.sort(key=lambda item: order.get(started_by(item.nodeid), len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how long the system took to heal, of each fault that a test put right."""
    for report in terminalreporter.getreports("passed"):
        for seconds in (value for name, value in report.user_properties if name == HEALED):
            test = report.nodeid.rpartition("::")[2]
            terminalreporter.write_line(f"healed after {seconds:5.1f} s: {test}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the summary say in one line why no test of containers ran: pytest has one for each."""
    report = yield
    if isinstance(report.longrepr, tuple) and NO_CONTAINERS in report.longrepr[2]:
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


@pytest.fixture(autouse=True)
def _a_state_folder_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _arrows_that_pass_are_logged() -> None:
    """Whatever another test has configured in this process."""
    logging.getLogger("shared.arrows").setLevel(logging.NOTSET)


@pytest.fixture(scope="session", params=["local", "docker"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """A running system that tests share, of either kind: none of them may break it."""
    running: Stack = request.getfixturevalue(f"stack_of_{KINDS[request.param]}")
    return running


@pytest.fixture(scope="session")
def stack_of_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    names = ("AUTH_SERVER_METRICS_BIND", "CLIENT_SERVICE_METRICS_BIND")
    ports = zip(names, free_ports(len(names)), strict=True)
    metrics = {name: f"127.0.0.1:{port}" for name, port in ports}
    running = local_stack(tmp_path_factory.mktemp("a stack"), **metrics)
    try:
        running.demo.up()
        yield running
    finally:
        running.demo.down()


@pytest.fixture(scope="session")
def containers_can_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where they cannot, with the reason; build what they share, one test process at a time.

    Two that build at once what was never built make every layer twice: later builds take the one
    or the other, and Compose replaces a container whose image is another.
    """
    problem = why_no_containers()
    if problem:
        pytest.skip(NO_CONTAINERS + problem)
    folder = tmp_path_factory.mktemp("built once")
    demo = DemoContainers(folder, project=f"built-{secrets.token_hex(4)}")
    with (tmp_path_factory.getbasetemp().parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        demo.build()
    remove_images(service.image for service in demo.services)  # the layers stay


@pytest.fixture(scope="session")
def stack_of_containers(
    containers_can_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerStack]:
    with container_stack(tmp_path_factory.mktemp("a stack of containers")) as running:
        yield running


@pytest.fixture(scope="session")
def fragile_stack_of_containers(
    containers_can_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerStack]:
    folder = tmp_path_factory.mktemp("a fragile stack of containers")
    demo = DemoContainers(folder, Ports(*free_ports(3)), f"fragile-{secrets.token_hex(4)}")
    try:
        demo.up()
        yield ContainerStack(demo)
    finally:
        demo.delete()


@pytest.fixture
def own_containers(fragile_stack_of_containers: ContainerStack) -> ContainerStack:
    """Running containers that a test may stop and break: they are mended for the next one."""
    demo = fragile_stack_of_containers.demo
    running = demo.compose.running()
    stopped = [one.container for one in demo.services if one.container not in running]
    if not {"postgres", "openbao"} <= running:
        demo.up()
    elif stopped:  # the jobs' work is there
        demo.compose.do("up", "--detach", "--no-deps", "--no-build", *stopped)
    demo.wait_until_ready()
    return fragile_stack_of_containers


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
