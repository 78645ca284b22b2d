"""`docker compose` without `make`: a clone as it came says what to do, a prepared one works."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from demo.container_secrets import make_secrets
from demo.processes import ROOT

pytestmark = pytest.mark.usefixtures("containers_can_run")

SECONDS = 10
OURS = ("COMPOSE_",)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What Compose reads of this repository, in a folder of a name that no project has."""
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    text = (ROOT / "docker-compose.yml").read_text()
    name = f"a-clone-{os.getpid()}"
    (folder / "docker-compose.yml").write_text(text.replace("client-credentials-flow", name))
    return folder


def compose(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `docker compose` there, without any variable of ours."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    docker = shutil.which("docker")
    assert docker is not None
    return subprocess.run(
        [docker, "compose", *arguments],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_on_a_fresh_clone_up_ends_at_once_and_names_what_is_missing_and_the_way(
    clone: Path,
) -> None:
    started = time.monotonic()

    result = compose(clone, "up", "--detach")

    assert result.returncode != 0
    assert ".local/compose-secrets/made-by-make-up-STACK=docker: no such file" in result.stderr
    assert len(result.stderr.splitlines()) == 1  # nothing was built
    assert time.monotonic() - started < 5
    assert not (clone / ".local").exists()


@pytest.mark.parametrize("clone_is", ["fresh", "prepared"])
@pytest.mark.parametrize(
    "command", [["config", "--quiet"], ["down", "--volumes"]], ids=["config", "down"]
)
def test_compose_reads_the_file_and_takes_down_without_any_variable(
    clone: Path, command: list[str], clone_is: str
) -> None:
    if clone_is == "prepared":
        make_secrets(clone / ".local" / "compose-secrets")

    result = compose(clone, *command)

    assert result.returncode == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if "warn" in line.lower()] == []


def test_once_the_secrets_are_made_compose_takes_them_from_there(clone: Path) -> None:
    folder = clone / ".local" / "compose-secrets"
    make_secrets(folder)

    shown = compose(clone, "config").stdout

    assert f"{folder}/postgres_password" in shown
    assert (folder / "postgres_password").read_text().strip() not in shown
