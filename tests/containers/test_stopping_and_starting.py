"""A stop ends no request that is under way, and a start needs no hand, whatever was before."""

import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import docker
import pytest
import requests
from docker.models.containers import Container

from shared.identifiers import DEMO_CLIENT
from tests.stack.container_stack import ContainerStack
from tests.stack.local_stack import register_client

SECONDS = 30
GRACE_SECONDS = 35
HOLD = f"SELECT pg_sleep({GRACE_SECONDS})"
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE "
RELEASE = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = '{HOLD}'"  # noqa: S608 - nobody's input
TOKEN_FORM = b"grant_type=client_credentials&scope=openid"

Ask = Callable[[], requests.Response]


@pytest.fixture
def engine(own_containers: ContainerStack) -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@dataclass(frozen=True)
class Stopped:
    """How a container ended."""

    exit_code: int
    seconds: float


def eventually(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def container_of(stack: ContainerStack, engine: docker.DockerClient, service: str) -> Container:
    labels = [f"com.docker.compose.project={stack.demo.project}"]
    labels += [f"com.docker.compose.service={service}"]
    (container,) = engine.containers.list(filters={"label": labels})
    return container


def basic(stack: ContainerStack) -> tuple[str, str]:
    """Return the credentials of the demo's client as HTTP Basic takes them."""
    entry = stack.read_from_vault(DEMO_CLIENT)
    return entry["client_id"], entry["client_secret"]


def token_request(stack: ContainerStack) -> Ask:
    """Return the request of a client that is new, as no server has it in memory."""
    client = register_client(stack, f"asks-at-a-stop-{secrets.token_hex(4)}")
    url, auth = f"{stack.auth_url}/oidc/token", (client.client_id, client.client_secret)
    form = {"grant_type": "client_credentials"}
    return lambda: requests.post(url, form, auth=auth, timeout=GRACE_SECONDS)


def account_request(stack: ContainerStack) -> Ask:
    token = stack.cli("client_service", "token").stdout.strip()
    url, headers = f"{stack.bank_url}/account", {"Authorization": f"Bearer {token}"}
    return lambda: requests.get(url, headers=headers, timeout=GRACE_SECONDS)


def runs_request(stack: ContainerStack) -> Ask:
    return lambda: requests.get(f"{stack.client_url}/runs", timeout=GRACE_SECONDS)


def run_ids(stack: ContainerStack) -> set[str]:
    return {run["id"] for run in runs_request(stack)().json()["runs"]}


@dataclass(frozen=True)
class Postgres:
    """The database server of a stack, asked from inside its container as its superuser."""

    container: Container

    def ask(self, database: str, *statements: str) -> str:
        result = self.container.exec_run(self._command(database, *statements))
        assert result.exit_code == 0, result.output
        return str(result.output.decode().strip())

    def lock(self, database: str, table: str) -> None:
        """Hold ``table`` until `release`: whoever reads it waits."""
        lock = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
        command = self._command(database, "BEGIN", lock, HOLD)
        self.container.exec_run(command, detach=True)
        eventually(lambda: self._count(f"query = '{HOLD}'") == 1, f"{table} is locked")

    def release(self) -> None:
        self.ask("postgres", RELEASE)

    def somebody_waits_to_read(self, database: str) -> bool:
        waits = f"datname = '{database}' AND wait_event_type = 'Lock' AND query ILIKE 'select%'"
        return self._count(waits) > 0

    def _count(self, condition: str) -> int:
        return int(self.ask("postgres", COUNT + condition))

    @staticmethod
    def _command(database: str, *statements: str) -> list[str]:
        options = [f"--command={statement}" for statement in statements]
        return ["psql", "--username=postgres", f"--dbname={database}", "-At", *options]


def stop(container: Container) -> Stopped:
    started = time.monotonic()
    container.stop(timeout=GRACE_SECONDS)
    seconds = time.monotonic() - started
    container.reload()
    return Stopped(container.attrs["State"]["ExitCode"], seconds)


def signals_heard(container: Container) -> int:
    return int(container.logs().count(b"Handling signal: term"))


@pytest.mark.parametrize(
    ("service", "table", "prepared", "member"),
    [
        pytest.param("auth_server", "clients", token_request, "access_token", id="auth_server"),
        pytest.param(
            "resource_server", "account", account_request, "balance", id="resource_server"
        ),
        pytest.param("client_service", "run", runs_request, "runs", id="client_service"),
    ],
)
def test_docker_stop_lets_a_request_that_waits_for_the_database_be_answered(
    own_containers: ContainerStack,
    engine: docker.DockerClient,
    service: str,
    table: str,
    prepared: Callable[[ContainerStack], Ask],
    member: str,
) -> None:
    container = container_of(own_containers, engine, service.replace("_", "-"))
    postgres = Postgres(container_of(own_containers, engine, "postgres"))

    ask = prepared(own_containers)
    heard = signals_heard(container)
    with ThreadPoolExecutor() as pool:
        postgres.lock(service, table)
        try:
            answer = pool.submit(ask)
            eventually(lambda: postgres.somebody_waits_to_read(service), "the request waits")
            stopped = pool.submit(stop, container)
            eventually(lambda: signals_heard(container) > heard, "the signal has arrived")
            was_answered_before = answer.done()
        finally:
            postgres.release()

    assert not was_answered_before
    assert answer.result().status_code == 200
    assert member in answer.result().json()
    assert stopped.result().exit_code == 0
    assert stopped.result().seconds < GRACE_SECONDS / 2


def test_docker_stop_lets_a_request_whose_body_is_still_coming_be_answered(
    own_containers: ContainerStack, engine: docker.DockerClient
) -> None:
    container = container_of(own_containers, engine, "auth-server")
    heard = signals_heard(container)
    with (
        ThreadPoolExecutor() as pool,
        socket.create_connection(("127.0.0.1", own_containers.demo.ports.auth_server)) as sender,
    ):
        sender.settimeout(GRACE_SECONDS)
        sender.sendall(head_of_a_token_request(own_containers))
        said_first = sender.recv(1000)  # it reads the body now
        stopped = pool.submit(stop, container)
        eventually(lambda: signals_heard(container) > heard, "the signal has arrived")
        sender.sendall(TOKEN_FORM)
        answer = b"".join(iter(lambda: sender.recv(10_000), b""))

    assert said_first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"access_token"' in answer
    assert stopped.result().exit_code == 0


def head_of_a_token_request(stack: ContainerStack) -> bytes:
    """Return a request without its body, whose beginning the server is to confirm."""
    credentials = b64encode(":".join(basic(stack)).encode()).decode()
    lines = [
        "POST /oidc/token HTTP/1.1",
        f"Host: localhost:{stack.demo.ports.auth_server}",
        f"Authorization: Basic {credentials}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(TOKEN_FORM)}",
        "Expect: 100-continue",
        "Connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_job_hears_that_it_is_to_stop(own_containers: ContainerStack) -> None:
    compose = own_containers.demo.compose
    sleeps = ("python", "-c", "import time; print(flush=True); time.sleep(60)")
    name = f"{own_containers.demo.project}-a-job"
    compose.do("run", "--detach", "--no-deps", f"--name={name}", "provision", *sleeps)
    client = docker.from_env()
    try:
        job = client.containers.get(name)
        eventually(lambda: job.logs() != b"", "it works")

        ended = stop(job)
    finally:
        client.containers.get(name).remove(force=True)
        client.close()

    assert ended.exit_code == 128 + 15
    assert ended.seconds < 5


def test_after_a_restart_of_the_vault_alone_another_up_mends_what_it_forgot(
    own_containers: ContainerStack,
) -> None:
    compose = own_containers.demo.compose
    compose.do("restart", "openbao")

    forgotten = own_containers.run_once()
    compose.do("up", "--detach")

    assert forgotten.error is not None
    assert own_containers.run_once().error is None


def test_after_down_another_up_goes_on_with_the_same_data(own_containers: ContainerStack) -> None:
    compose = own_containers.demo.compose
    before = run_ids(own_containers)
    compose.do("down")

    compose.do("up", "--detach")
    own_containers.demo.wait_until_ready()

    assert own_containers.run_once().error is None
    assert before < run_ids(own_containers)


def test_after_down_with_volumes_another_up_begins_anew_with_the_same_secrets(
    own_containers: ContainerStack,
) -> None:
    compose = own_containers.demo.compose
    secrets_before = own_containers.secrets()
    runs_before = run_ids(own_containers)
    compose.do("down", "--volumes")

    compose.do("up", "--detach")
    own_containers.demo.wait_until_ready()

    assert own_containers.run_once().error is None
    assert own_containers.secrets() == secrets_before
    assert runs_before & run_ids(own_containers) == set()
