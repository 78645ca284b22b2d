"""Two of each service behind its one name: which of the two answers makes no difference."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import docker
import pytest
import requests
from docker.models.containers import Container

from demo.compose import START_SECONDS, Compose
from demo.container_secrets import make_secrets
from demo.container_stack import ContainerStack as DemoStack
from demo.local_stack import Ports
from demo.processes import is_ready
from shared.identifiers import DEMO_CLIENT
from tests.containers.rotation_load import RotationLoad, refusals_in
from tests.stack.container_stack import ContainerStack
from tests.stack.local_stack import free_ports, register_client

FILES = ("docker-compose.yml", "tests/containers/two-replicas.yml")
COMPOSE = "com.docker.compose"
SERVICES = ("auth-server", "resource-server", "client-service")
REPLICAS = (1, 2)
SECONDS = 60
STOP_SECONDS = 35
TICKS = 4
ROTATIONS = 3
OVERLAP_SECONDS = 3
INTERVAL_SECONDS = 2  # as two-replicas.yml has it


@dataclass(frozen=True)
class Replica:
    """One of the containers of a service."""

    container: Container

    @property
    def url(self) -> str:
        """Where it answers on this machine: the engine chooses anew at each start."""
        self.container.reload()
        (addresses,) = (found for found in self.container.ports.values() if found)
        return f"http://localhost:{addresses[0]['HostPort']}"

    def stop(self) -> None:
        self.container.stop(timeout=STOP_SECONDS)

    def start(self) -> None:
        self.container.start()
        self.wait()

    def wait(self) -> None:
        eventually(lambda: is_ready(self.url), f"{self.container.name} is ready")

    def run_once(self) -> dict[str, Any]:
        """Let the client do its job in a process of its own in this container."""
        command = ["flask", "--app", "client_service.app", "run-once", "--json"]
        said = self.container.exec_run(command, demux=True).output[0]
        report: dict[str, Any] = json.loads(said)
        return report

    def arrows(self, trace_id: str) -> list[int]:
        """Return the arrows of a trace that this container has recorded."""
        lines = [json.loads(line) for line in self.log() if line.startswith("{")]
        events = (line for line in lines if line.get("trace_id") == trace_id and "arrow" in line)
        return [event["arrow"] for event in events]

    def started_runs(self) -> list[str]:
        """Return the ids of the runs that this container has worked on."""
        messages = [json.loads(line)["message"] for line in self.log() if line.startswith("{")]
        words = [message.split() for message in messages]
        return [word[1] for word in words if word[:1] == ["run"] and word[-1:] == ["started"]]

    def log(self) -> list[str]:
        text: str = self.container.logs().decode()
        return text.splitlines()


@dataclass(frozen=True)
class Replicas:
    """All of the three services."""

    stack: ContainerStack
    of: dict[tuple[str, int], Replica]

    def both(self, service: str) -> list[Replica]:
        return [self.of[service, number] for number in REPLICAS]


def eventually(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.1)


def of_each(change: Callable[[Replica], None], replicas: list[Replica]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(change, replicas))


def service_and_number(container: Container) -> tuple[str, int]:
    labels = container.labels
    return labels[f"{COMPOSE}.service"], int(labels[f"{COMPOSE}.container-number"])


@pytest.fixture(scope="module")
def replicas(
    containers_can_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    project = f"replicas-{secrets.token_hex(4)}"
    demo = DemoStack(tmp_path_factory.mktemp("replicas"), Ports(*free_ports(3)), project)
    make_secrets(demo.secrets_folder)
    compose: Compose = replace(demo.compose, files=FILES)
    engine = docker.from_env()
    try:
        compose.do("up", "--detach", "--build", timeout=START_SECONDS)
        running = engine.containers.list(filters={"label": f"{COMPOSE}.project={project}"})
        ours = [container for container in running if service_and_number(container)[0] in SERVICES]
        found = Replicas(
            ContainerStack(demo),
            {service_and_number(container): Replica(container) for container in ours},
        )
        of_each(Replica.wait, list(found.of.values()))
        yield found
    finally:
        engine.close()
        demo.delete()


def test_a_token_of_either_authorization_server_opens_the_account_at_either_bank(
    replicas: Replicas,
) -> None:
    entry = replicas.stack.read_from_vault(DEMO_CLIENT)
    credentials = entry["client_id"], entry["client_secret"]

    answers = {
        (issuer, bank): requests.get(
            f"{replicas.of['resource-server', bank].url}/account",
            headers={"Authorization": f"Bearer {token}"},
            timeout=SECONDS,
        ).status_code
        for issuer in REPLICAS
        for token in [new_token(replicas.of["auth-server", issuer].url, credentials)]
        for bank in REPLICAS
    }

    assert answers == {(issuer, bank): 200 for issuer in REPLICAS for bank in REPLICAS}


def new_token(url: str, credentials: tuple[str, str]) -> str:
    form = {"grant_type": "client_credentials", "scope": "openid"}
    answer = requests.post(f"{url}/oidc/token", form, auth=credentials, timeout=SECONDS)
    token: str = answer.json()["access_token"]
    return token


def test_both_authorization_servers_publish_the_same_keys(replicas: Replicas) -> None:
    key_sets = [
        requests.get(f"{replica.url}/oidc/jwks", timeout=SECONDS).json()
        for replica in replicas.both("auth-server")
    ]

    assert len(key_sets[0]["keys"]) > 0
    assert key_sets[0] == key_sets[1]


@pytest.mark.parametrize("alone", REPLICAS)
def test_the_flow_goes_on_by_the_name_with_either_one_of_the_two(
    replicas: Replicas, alone: int
) -> None:
    (others,) = (number for number in REPLICAS if number != alone)
    stopped = [replicas.of[service, others] for service in SERVICES]
    of_each(Replica.stop, stopped)
    try:
        report = replicas.of["client-service", alone].run_once()
    finally:
        of_each(Replica.start, stopped)

    trace_id = report["trace_id"]
    assert report["status"] == "succeeded"
    assert {2, 3} <= set(replicas.of["auth-server", alone].arrows(trace_id))
    assert 5 in replicas.of["resource-server", alone].arrows(trace_id)


def test_rotations_of_secrets_and_keys_under_load_refuse_not_one_request(
    replicas: Replicas,
) -> None:
    servers = replicas.both("auth-server")
    refused_before = [len(refusals_in(server.log())) for server in servers]
    load = RotationLoad(
        register_client(replicas.stack, "asks-without-a-pause"),
        [server.url for server in servers],
        [bank.url for bank in replicas.both("resource-server")],
        [error_of(client) for client in replicas.both("client-service")],
    )
    secrets_before = live_secrets(replicas)

    with load.under_way():
        eventually(lambda: len(load.kids) == 1 and load.jobs_done > 2, "everybody is at work")
        for _ in range(ROTATIONS):
            eventually(lambda: rotated_the_secret(replicas), "the secret is rotated")
        assert replicas.stack.cli("auth_server", "keys", "rotate").returncode == 0
        eventually(lambda: len(load.kids) == 2, "the next key signs")
        jobs_so_far = load.jobs_done
        eventually(lambda: load.jobs_done > jobs_so_far + 2, "the client goes on")

    assert load.refused == []
    assert [len(refusals_in(server.log())) for server in servers] == refused_before
    assert secrets_before.isdisjoint(live_secrets(replicas))


def error_of(client: Replica) -> Callable[[], str | None]:
    """Return what does the client's job once, and tells what it failed with."""

    def run() -> str | None:
        report = client.run_once()
        return None if report["status"] == "succeeded" else str(report)

    return run


def rotated_the_secret(replicas: Replicas) -> bool:
    """Rotate the client's secret; False while the one before the last has not ended yet."""
    overlap = ("--overlap", f"{OVERLAP_SECONDS}s")
    command = ("secrets", "rotate", DEMO_CLIENT, "--to-vault", DEMO_CLIENT, *overlap)
    return replicas.stack.cli("auth_server", *command).returncode == 0


def live_secrets(replicas: Replicas) -> set[str]:
    listed = replicas.stack.cli("auth_server", "secrets", "list", DEMO_CLIENT, "--json").stdout
    return {row["secret_id"] for row in json.loads(listed) if row["state"] == "live"}


def test_each_tick_of_the_schedule_is_completed_once(replicas: Replicas) -> None:
    first, second = (replica.url for replica in replicas.both("client-service"))
    begun = time.time()
    eventually(lambda: len(ticks_since(begun, first)) >= TICKS, "ticks are completed")

    ticks = ticks_since(begun, second)

    dues = sorted(due(run) for run in ticks)
    merged = sum(run["merged_ticks"] for run in ticks if due(run) > dues[0])
    worked_on = [run for client in replicas.both("client-service") for run in client.started_runs()]
    assert len(set(dues)) == len(dues)
    assert dues[-1] - dues[0] == INTERVAL_SECONDS * (len(dues) - 1 + merged)
    assert [worked_on.count(run["id"]) for run in ticks] == [1] * len(ticks)


def ticks_since(begun: float, client: str) -> list[dict[str, Any]]:
    """Return the scheduled runs that succeeded, as a client tells them."""
    runs: list[dict[str, Any]] = requests.get(f"{client}/runs", timeout=SECONDS).json()["runs"]
    is_done = {"trigger": "schedule", "status": "succeeded"}.items()
    return [run for run in runs if run.items() >= is_done and due(run) >= begun]


def due(run: dict[str, Any]) -> float:
    return datetime.fromisoformat(run["due"]).timestamp()
