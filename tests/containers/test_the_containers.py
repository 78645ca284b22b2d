"""What only containers can show: who runs as whom, who reaches whom, and where no secret lies."""

import json
import os
import secrets
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from demo.compose import added_bytes
from demo.container_secrets import make_secrets
from demo.container_stack import ContainerStack as DemoStack
from demo.local_stack import Ports
from demo.processes import ROOT
from demo.remembered import remember
from shared.identifiers import DEMO_CLIENT
from shared.settings import STATE_DIR_VARIABLE
from tests.stack.container_stack import ContainerStack
from tests.stack.local_stack import free_ports

SERVICES = ["auth-server", "resource-server", "client-service"]
ALL = [*SERVICES, "postgres", "openbao"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROJECT_LABEL = "com.docker.compose.project"

FIRST_PROCESS = """
import json
lines = open("/proc/1/status").read().splitlines()
print(json.dumps({name: text.split() for name, _, text in (line.partition(":") for line in lines)}))
"""
WRITE = """
import json, pathlib
said = {}
for folder in ("/", "/app", "/app/shared", "/opt/venv", "/run/secrets", "/tmp"):
    try:
        (pathlib.Path(folder) / "written").write_text("x")
        said[folder] = "written"
    except OSError as error:
        said[folder] = error.strerror
print(json.dumps(said))
"""
ENVIRONMENTS = """
import json, pathlib
files = pathlib.Path("/proc").glob("[0-9]*/environ")
print(json.dumps({file.parent.name: file.read_text() for file in files}))
"""
LEFT_OVER = """
import json, pathlib, shutil
venv = pathlib.Path("/opt/venv")
installers = [str(path) for path in venv.rglob("*") if path.name in {"pip", "setuptools", "wheel"}]
compilers = [name for name in ("cc", "gcc", "g++", "ld") if shutil.which(name)]
sources = [str(path) for path in venv.rglob("*") if path.suffix in {".c", ".h", ".pyx"}]
print(json.dumps(installers + compilers + sources))
"""
RESOLVE = """
import json, socket
try:
    print(json.dumps(socket.gethostbyname("openbao")))
except OSError:
    print(json.dumps(None))
"""
CONNECT = """
import json, socket, sys
try:
    socket.create_connection((sys.argv[1], 8200), timeout=3).close()
    print(json.dumps(True))
except OSError:
    print(json.dumps(False))
"""
OPEN_DATABASES = """
import json, pathlib, sys
import psycopg
role = sys.argv[1]
password = pathlib.Path(f"/run/secrets/{role}_database_password").read_text().strip()
said = {}
for database in ("auth_server", "resource_server", "client_service", "postgres", "template1"):
    try:
        psycopg.connect(
            host="postgres", user=role, password=password, dbname=database, connect_timeout=5
        ).close()
        said[database] = "open"
    except psycopg.OperationalError as error:
        said[database] = "denied" if "permission denied for database" in str(error) else str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="session")
def engine(stack_of_containers: ContainerStack) -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def containers(
    engine: docker.DockerClient, stack_of_containers: ContainerStack
) -> dict[str, Container]:
    """Those that run, by the name of their service."""
    label = {"label": f"{PROJECT_LABEL}={stack_of_containers.demo.project}"}
    found = engine.containers.list(filters=label)
    return {container.labels["com.docker.compose.service"]: container for container in found}


@pytest.fixture(scope="session")
def secret_texts(stack_of_containers: ContainerStack) -> dict[str, str]:
    """Every secret of the running system, by what it is."""
    credentials = stack_of_containers.read_from_vault(DEMO_CLIENT)
    return stack_of_containers.secrets() | {"the client's": credentials["client_secret"]}


def said_in(container: Container, script: str, *arguments: str) -> Any:
    """Return the JSON that a Python script prints inside a container, as its user."""
    result = container.exec_run(["python", "-c", script, *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def held_in(text: str, secret_texts: dict[str, str]) -> list[str]:
    return [name for name, secret in secret_texts.items() if secret in text]


def test_exactly_the_servers_run_and_every_job_has_ended(containers: dict[str, Container]) -> None:
    assert sorted(containers) == sorted(ALL)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_as_no_root_and_without_any_capability(
    containers: dict[str, Container], name: str
) -> None:
    process = said_in(containers[name], FIRST_PROCESS)

    assert set(process["Uid"]) == {"10001"}
    assert set(process["Gid"]) == {"10001"}
    assert {process[kind][0] for kind in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")} == {
        "0" * 16
    }
    assert process["NoNewPrivs"] == ["1"]


@pytest.mark.parametrize("name", ALL)
def test_a_container_is_hardened(containers: dict[str, Container], name: str) -> None:
    attributes = containers[name].attrs
    host = attributes["HostConfig"]

    assert attributes["Config"]["User"].partition(":")[0] not in {"", "0", "root"}
    assert (host["Privileged"], host["ReadonlyRootfs"]) == (False, True)
    assert (host["CapDrop"], host["CapAdd"] or []) == (["ALL"], [])
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_write_nowhere_but_to_its_memory(
    containers: dict[str, Container], name: str
) -> None:
    said = said_in(containers[name], WRITE)

    assert said.pop("/tmp") == "written"  # noqa: S108 - a folder in the container
    assert set(said.values()) == {"Read-only file system"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_holds_the_code_of_its_service_alone(
    containers: dict[str, Container], name: str
) -> None:
    folders = said_in(containers[name], "import json, os; print(json.dumps(os.listdir('/app')))")

    assert sorted(folders) == sorted(["shared", name.replace("-", "_")])


@pytest.mark.parametrize("name", SERVICES)
def test_no_file_of_an_image_holds_a_secret(
    containers: dict[str, Container], secret_texts: dict[str, str], name: str
) -> None:
    files = b"".join(containers[name].export())  # without what is mounted

    assert b"gunicorn.conf.py" in files
    assert [what for what, secret in secret_texts.items() if secret.encode() in files] == []


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_adds_at_most_90_mb_to_its_base(
    containers: dict[str, Container], name: str
) -> None:
    added = added_bytes(containers[name].image.tags[0])

    assert 1_000_000 < added <= 90_000_000


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_says_what_it_is(containers: dict[str, Container], name: str) -> None:
    labels = containers[name].image.labels

    told = {key.removeprefix("org.opencontainers.image."): text for key, text in labels.items()}
    assert told["title"] == name
    assert told["version"] == PROJECT["version"]
    assert told["licenses"] == PROJECT["license"]
    assert told["base.name"] == "docker.io/library/python:3.13-slim"
    assert len(told["description"]) > 20


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_brings_no_installer_compiler_or_source_in_c(
    containers: dict[str, Container], name: str
) -> None:
    assert said_in(containers[name], LEFT_OVER) == []


@pytest.mark.parametrize("name", SERVICES)
def test_no_process_of_a_service_has_a_secret_in_its_environment(
    containers: dict[str, Container], secret_texts: dict[str, str], name: str
) -> None:
    environments = said_in(containers[name], ENVIRONMENTS)

    assert len(environments) > 2
    assert "SECRETS_DIR=/run/secrets" in environments["1"]
    assert held_in(json.dumps(environments), secret_texts) == []


@pytest.mark.parametrize("name", ALL)
def test_docker_inspect_shows_no_secret_but_the_dev_vaults_own(
    containers: dict[str, Container], secret_texts: dict[str, str], name: str
) -> None:
    container = containers[name]
    shown = json.dumps([container.attrs, container.image.attrs, container.image.history()])

    assert held_in(shown, secret_texts) == (["openbao.env"] if name == "openbao" else [])


def test_no_log_holds_a_secret_but_the_dev_vaults_own(
    stack_of_containers: ContainerStack, secret_texts: dict[str, str]
) -> None:
    stack_of_containers.run_once()
    stack_of_containers.cli("auth_server", "secrets", "list", DEMO_CLIENT)

    log_of_the_vault = stack_of_containers.demo.compose.logs("openbao")
    listed = stack_of_containers.demo.compose.do("ps", "--all", "--services").split()
    logs = stack_of_containers.demo.compose.logs(*(set(listed) - {"openbao"}))

    assert len(listed) == 10
    assert "bank-reconciler" in logs
    assert held_in(logs, secret_texts) == []
    assert held_in(log_of_the_vault, secret_texts) == ["openbao.env"]


def test_a_secret_is_rotated_by_make_cli_and_the_client_goes_on(
    stack_of_containers: ContainerStack,
) -> None:
    demo = stack_of_containers.demo
    remember(demo.state, "docker", asdict(demo.ports), demo.project)
    before = stack_of_containers.read_from_vault(DEMO_CLIENT)

    result = subprocess.run(
        [sys.executable, "-m", "demo", "cli", "auth_server",
         f"secrets rotate {DEMO_CLIENT} --to-vault {DEMO_CLIENT} --json"],
        cwd=ROOT,
        env=os.environ | {STATE_DIR_VARIABLE: str(demo.state)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["old_state"] == "live"
    after = stack_of_containers.read_from_vault(DEMO_CLIENT)
    assert after["client_secret"] != before["client_secret"]
    assert stack_of_containers.run_once().error is None


def test_the_bank_can_neither_resolve_nor_reach_the_vault(containers: dict[str, Container]) -> None:
    address = said_in(containers["client-service"], RESOLVE)
    bank = containers["resource-server"]

    assert said_in(containers["client-service"], CONNECT, address) is True
    assert said_in(bank, RESOLVE) is None
    assert said_in(bank, CONNECT, address) is False


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_open_its_own_database_alone(
    containers: dict[str, Container], name: str
) -> None:
    role = name.replace("-", "_")

    said = said_in(containers[name], OPEN_DATABASES, role)

    assert said.pop(role) == "open"
    assert set(said.values()) == {"denied"}


def test_ports_are_published_for_the_three_services_on_this_machine_alone(
    containers: dict[str, Container], stack_of_containers: ContainerStack
) -> None:
    published = {
        (name, address["HostIp"], int(address["HostPort"]))
        for name, container in containers.items()
        for addresses in container.ports.values()
        for address in addresses or []
    }

    assert published == {
        (service.container, "127.0.0.1", service.port)
        for service in stack_of_containers.demo.services
    }


@pytest.fixture
def another_project(engine: docker.DockerClient, tmp_path: Path) -> Iterator[DemoStack]:
    """All the containers; those that keep data run, as they alone leave something."""
    another = DemoStack(tmp_path, Ports(*free_ports(3)), f"another-{secrets.token_hex(4)}")
    make_secrets(another.secrets_folder)
    try:
        another.compose.do("up", "--no-start")
        another.compose.do("up", "--detach", "--wait", "postgres", "openbao")
        yield another
    finally:
        another.delete()


def test_docker_compose_down_with_volumes_leaves_nothing_behind(
    engine: docker.DockerClient, another_project: DemoStack
) -> None:
    label = {"label": f"{PROJECT_LABEL}={another_project.project}"}
    containers = engine.containers.list(all=True, filters=label)
    mounts = [mount for container in containers for mount in container.attrs["Mounts"]]
    volumes = {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
    assert len(containers) == 10
    assert volumes == {f"{another_project.project}_databases"}  # a `down` leaves no other one
    assert len(engine.networks.list(filters=label)) == 3

    another_project.compose.do("down", "--volumes")

    assert engine.containers.list(all=True, filters=label) == []
    assert engine.networks.list(filters=label) == []
    assert volumes & {volume.name for volume in engine.volumes.list()} == set()
