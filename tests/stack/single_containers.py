"""Services of the shipped docker-compose.yml that a test runs by themselves, with other settings.

They are a Compose project of their own, with a database of their own: no other test sees them.
"""

import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.compose import START_SECONDS
from demo.container_secrets import make_secrets
from demo.container_stack import READY_SECONDS, ContainerService, ContainerStack
from demo.local_stack import Ports
from demo.processes import is_ready
from tests.stack.local_stack import free_ports

COMMAND_SECONDS = 120
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class SingleContainer:
    """A container that runs, by its name."""

    name: str

    def run(
        self, *command: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; ``settings`` change its environment for this command alone."""
        changed = [f"--env={name}={value}" for name, value in (settings or {}).items()]
        return _docker("exec", *changed, self.name, *command)


@dataclass(frozen=True)
class SingleContainers:
    """The project: a container is there while a test runs it, the database from the first on."""

    demo: ContainerStack

    @contextmanager
    def running(
        self, service: ContainerService, settings: Mapping[str, str], *command: str
    ) -> Iterator[SingleContainer]:
        """Run ``service`` on its port, with ``settings`` in place of what the compose file says.

        ``command`` runs in place of the service. Nobody waits until it answers.
        """
        container = SingleContainer(f"{self.demo.project}-{service.container}")
        changed = [f"--env={name}={value}" for name, value in settings.items()]
        start = ["run", "--detach", "--no-deps", "--service-ports", f"--name={container.name}"]
        self._do("build", service.container)
        self._do("run", "--rm", "-T", f"migrate-{service.container}")
        try:
            self._do(*start, *changed, service.container, *command)
            yield container
        finally:
            _docker("rm", "--force", container.name)

    def _do(self, *arguments: str) -> None:
        self.demo.compose.do(*arguments, timeout=START_SECONDS)


@contextmanager
def single_containers(folder: Path) -> Iterator[SingleContainers]:
    """Name a project of which nothing runs yet; remove all of it after."""
    demo = ContainerStack(folder, Ports(*free_ports(3)), f"single-{secrets.token_hex(4)}")
    make_secrets(demo.secrets_folder)
    try:
        yield SingleContainers(demo)
    finally:
        demo.delete()


def wait_until_ready(url: str) -> None:
    """Return when the service at ``url`` can work."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(url):
        assert time.monotonic() < deadline, f"{url} is not ready"
        time.sleep(POLL_SECONDS)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
