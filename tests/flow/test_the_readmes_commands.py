"""Every command of the README works as it stands there; only the ports are the tests' own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.arrows import Arrow
from shared.settings import STATE_DIR_VARIABLE
from tests.stack.container_stack import ContainerStack
from tests.stack.local_stack import LocalStack

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 120
SECONDS_OF_THE_BENCHMARK = 600  # two minutes where nothing else runs

# `make up` and `make run` have tests of their own, and `make test` is what runs this. `make clean`
# would delete the developer's own `.local`: what it does beyond `rm` is run below. The benchmark
# starts servers of its own, whatever system there is.
BENCHMARK = "make bench QUICK=1"
NOT_RUN_HERE = {"make up", "make test", "make clean", "make run", BENCHMARK}

COMMANDS = [
    line.partition("  #")[0].strip()
    for block in SHELL_BLOCK.findall(README)
    for line in block.splitlines()
    if line.strip()
]


OwnSystem = LocalStack | ContainerStack


@pytest.fixture(params=["local", "docker"])
def own_system(request: pytest.FixtureRequest) -> OwnSystem:
    """A running system of either kind, which `make` commands reach by its state folder."""
    fixture = {"local": "own_stack", "docker": "own_containers"}[request.param]
    system: OwnSystem = request.getfixturevalue(fixture)
    return system


def run(
    stack: OwnSystem, command: str, seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    ports = stack.demo.ports
    for shown, own in (
        (9000, ports.auth_server),
        (9001, ports.resource_server),
        (9002, ports.client_service),
    ):
        command = command.replace(f"localhost:{shown}", f"localhost:{own}")
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, "-c", command],
        cwd=ROOT,
        env=os.environ | {STATE_DIR_VARIABLE: str(stack.demo.state)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def first_processes(system: OwnSystem) -> list[str]:
    """Return what tells the first process of each service from one that was started later."""
    if isinstance(system, LocalStack):
        return [service.pid_file.read_text() for service in system.demo.services]
    names = [service.container for service in system.demo.services]
    return system.demo.compose.do("ps", "--quiet", *names).split()


def images(system: OwnSystem) -> list[str]:
    """Return the ids of the images that containers are made of; local processes have none."""
    if isinstance(system, LocalStack):
        return []
    return system.demo.compose.do("images", "--quiet").split()


def told_arrows(narration: str) -> list[int]:
    return [int(number) for number in re.findall(r"^  (\d)  ", narration, re.MULTILINE)]


def test_the_readme_shows_commands_to_start_to_test_and_to_call() -> None:
    assert {"make up", "make test", "make down"} <= set(COMMANDS)
    assert len([command for command in COMMANDS if command.startswith("curl")]) >= 5


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if command not in NOT_RUN_HERE and "my-client" not in command],
)
def test_a_command_of_the_readme_works_as_it_stands_there(
    own_system: OwnSystem, command: str
) -> None:
    command = command.replace("curl -s", "curl -s --fail")

    result = run(own_system, command)

    assert result.returncode == 0, result.stderr
    if command.startswith("curl"):
        assert isinstance(json.loads(result.stdout), dict)


def test_the_benchmark_of_the_readme_measures_ours_beside_its_peers(own_stack: LocalStack) -> None:
    assert BENCHMARK in COMMANDS
    result = run(own_stack, BENCHMARK, SECONDS_OF_THE_BENCHMARK)

    assert result.returncode == 0, result.stderr
    assert "| ours |" in result.stdout


def test_make_up_tells_the_five_arrows(own_system: OwnSystem) -> None:
    programs, processes = images(own_system), first_processes(own_system)

    told = run(own_system, "make up").stdout

    assert told_arrows(told) == [arrow.number for arrow in Arrow]
    assert own_system.read_from_vault("bank-reconciler")["client_secret"] not in told
    # An engine whose build cache is full makes images anew, and Compose then the containers.
    if images(own_system) == programs:
        assert first_processes(own_system) == processes


def test_with_the_bank_stopped_make_run_tells_that_arrows_4_and_5_are_missing(
    own_system: OwnSystem,
) -> None:
    with_bank = run(own_system, "make run")
    run(own_system, "make stop SERVICE=resource_server")
    without_bank = run(own_system, "make run")

    assert (with_bank.returncode, told_arrows(with_bank.stdout)[-1]) == (0, 5)
    assert without_bank.returncode != 0
    assert told_arrows(without_bank.stdout)[-1] == 3
    assert "Arrows that did not pass: 4, 5" in without_bank.stdout


def test_of_two_starts_at_once_one_goes_on_and_one_says_so(own_stack: LocalStack) -> None:
    own_stack.demo.down()

    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: run(own_stack, "make up STACK=local"), range(2))

    assert sorted([first.returncode == 0, second.returncode == 0]) == [False, True]
    assert "another `make up` is at work here" in first.stderr + second.stderr


def test_a_client_that_the_readme_registers_gets_the_answer_that_it_names(
    own_system: OwnSystem,
) -> None:
    register, ask = (command for command in COMMANDS if "my-client" in command)
    secret = json.loads(run(own_system, register).stdout)["client_secret"]

    answer = json.loads(run(own_system, ask.replace("SECRET", secret)).stdout)

    assert (answer["expires_in"], answer["token_type"]) == (300, "Bearer")
    assert answer["scope"] == "openid Read Write"
    assert answer["access_token"].count(".") == answer["id_token"].count(".") == 2


def test_clean_stops_the_system_and_deletes_its_data(own_stack: LocalStack) -> None:
    result = run(own_stack, f"{shlex.quote(sys.executable)} -m demo clean")

    assert result.returncode == 0, result.stderr
    assert not own_stack.demo.state.exists()
    assert [service.is_running() for service in own_stack.demo.services] == [False] * 3
