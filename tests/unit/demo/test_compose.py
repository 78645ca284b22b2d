from pathlib import Path

import pytest

from demo.compose import Compose, why_no_containers
from demo.container_secrets import make_secrets
from demo.container_stack import ContainerStack
from demo.processes import DemoError

HANGS = "#!/bin/sh\nexec sleep 30\n"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that says yes to everything, in place of the one that is installed."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_an_engine_that_does_not_answer_in_time_is_one_clear_line(docker: Path) -> None:
    docker.write_text(HANGS)

    with pytest.raises(DemoError, match=r"the Docker engine does not answer within 0\.1 s"):
        Compose("a-project").run("ps", timeout=0.1)


def test_an_engine_that_hangs_is_why_there_are_no_containers(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.write_text(HANGS)
    monkeypatch.setattr("demo.compose.ANSWER_SECONDS", 0.1)

    assert why_no_containers() == "the Docker engine does not answer within 0.1 s"


def test_databases_whose_passwords_are_elsewhere_are_refused_at_each_start(
    docker: Path, tmp_path: Path
) -> None:
    stack = ContainerStack(tmp_path / "state", project="a-project")  # `docker` knows its volume

    for _ in range(2):
        with pytest.raises(DemoError, match="their passwords are not in"):
            stack.build()

    assert not stack.secrets_folder.exists()


def test_databases_whose_passwords_are_here_are_taken_again(docker: Path, tmp_path: Path) -> None:
    stack = ContainerStack(tmp_path / "state", project="a-project")
    make_secrets(stack.secrets_folder)

    stack.build()
