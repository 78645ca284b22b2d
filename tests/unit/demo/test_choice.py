import fcntl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from demo.choice import every_stack, stack_started_last, stack_to_start
from demo.compose import Compose
from demo.container_stack import PROJECT, ContainerStack
from demo.local_stack import LocalStack, Ports
from demo.processes import ROOT, DemoError
from demo.remembered import remember

DOCKER = {"STACK": "docker"}
PORTS = {"auth_server": 9100, "resource_server": 9101, "client_service": 9102}


def an_engine() -> None:
    return None


def no_engine() -> str:
    return "no Docker engine answers"


@pytest.fixture
def running_locally(tmp_path: Path) -> Iterator[Path]:
    """Return the state of a local stack of which a process seems to run: its lock is held."""
    remember(tmp_path, "local", PORTS)
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "auth_server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


@pytest.mark.parametrize(
    ("environment", "problem", "kind", "words"),
    [
        pytest.param({}, an_engine, ContainerStack, "as a Docker engine answers", id="an engine"),
        pytest.param({}, no_engine, LocalStack, "as no Docker engine answers", id="no engine"),
        pytest.param({"STACK": ""}, no_engine, LocalStack, "as no Docker engine", id="empty"),
        pytest.param({"STACK": "local"}, an_engine, LocalStack, "as STACK says", id="local"),
        pytest.param({"STACK": "docker"}, no_engine, ContainerStack, "as STACK says", id="docker"),
    ],
)
def test_containers_are_taken_where_an_engine_answers_and_stack_decides_it(
    tmp_path: Path,
    environment: Mapping[str, str],
    problem: Callable[[], str | None],
    kind: type,
    words: str,
) -> None:
    stack, which_and_why = stack_to_start(tmp_path, environment, problem)

    assert type(stack) is kind
    assert words in which_and_why


def test_a_stack_that_runs_is_taken_again(running_locally: Path) -> None:
    stack, which_and_why = stack_to_start(running_locally, {}, an_engine)

    assert isinstance(stack, LocalStack)
    assert which_and_why.endswith("which runs already")


def test_the_other_stack_is_refused_while_one_runs(running_locally: Path) -> None:
    with pytest.raises(DemoError, match="the local stack runs: make down, and then make up STACK="):
        stack_to_start(running_locally, {"STACK": "docker"}, an_engine)


@pytest.mark.parametrize("kind", ["local", "docker"])
def test_a_stack_that_was_stopped_is_started_again_as_it_has_the_data(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compose, "running", lambda _project: set())
    remember(tmp_path, kind, PORTS)

    _, which_and_why = stack_to_start(tmp_path, {}, an_engine)

    assert which_and_why.startswith(kind)
    assert ", as before; STACK=" in which_and_why


def test_a_state_folder_of_ones_own_has_containers_of_its_own(tmp_path: Path) -> None:
    projects = {
        stack.project
        for folder in (tmp_path / "one", tmp_path / "two", ROOT / ".local")
        if isinstance(stack := stack_to_start(folder, DOCKER, no_engine)[0], ContainerStack)
    }

    assert len(projects) == 3
    assert PROJECT in projects


def test_containers_that_no_engine_runs_do_not_run(tmp_path: Path) -> None:
    remember(tmp_path, "docker", PORTS, PROJECT)

    stack, _ = stack_to_start(tmp_path, {}, no_engine)

    assert isinstance(stack, LocalStack)


def test_another_word_for_a_stack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="STACK: 'podman' is neither local nor docker"):
        stack_to_start(tmp_path, {"STACK": "podman"}, an_engine)


def test_other_commands_reach_what_was_started_last_on_its_ports(tmp_path: Path) -> None:
    remember(tmp_path, "docker", PORTS, "a-project")

    stack = stack_started_last(tmp_path, {"STACK": "local"})

    assert stack == ContainerStack(tmp_path, Ports(**PORTS), "a-project")


def test_ports_that_are_asked_for_win_over_those_of_before(tmp_path: Path) -> None:
    remember(tmp_path, "local", PORTS)

    stack = stack_started_last(tmp_path, {"BANK_PORT": "9201", "AUTH_PORT": ""})

    assert stack.ports == Ports(9100, 9201, 9102)


@pytest.mark.parametrize("text", ["0", "65536", "a", "-1", "²"])
def test_what_is_no_port_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(DemoError, match="CLIENT_PORT: not a port"):
        stack_started_last(tmp_path, {"CLIENT_PORT": text})


def test_containers_are_deleted_too_where_they_were_ever_started(tmp_path: Path) -> None:
    before = [type(stack) for stack in every_stack(tmp_path, {})]
    (tmp_path / "compose-secrets").mkdir()

    after = [type(stack) for stack in every_stack(tmp_path, {})]

    assert before == [LocalStack]
    assert after == [ContainerStack, LocalStack]


def test_one_port_for_two_services_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="two of the ports are the same"):
        stack_started_last(tmp_path, {"AUTH_PORT": "9001"})
