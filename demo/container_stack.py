"""The system in containers: docker-compose.yml, with PostgreSQL and OpenBao."""

import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

from demo.compose import START_SECONDS, Compose, remove_images, why_no_containers
from demo.container_secrets import lacks_a_password, make_secrets
from demo.event_log import arrow_events
from demo.local_stack import Ports, Run
from demo.processes import DemoError, is_ready, last_line, require_free_port
from demo.remembered import remember

PROJECT = "client-credentials-flow"
READY_SECONDS = 60
POLL_SECONDS = 0.1
CLOCKS_APART = timedelta(seconds=5)
"""How far the engine's clock may be from ours, where its logs are read from a time on."""


@dataclass(frozen=True)
class ContainerService:
    """One of the three services as a container."""

    name: str
    port: int
    compose: Compose

    @property
    def url(self) -> str:
        """The base URL on this machine."""
        return f"http://localhost:{self.port}"

    @property
    def container(self) -> str:
        """Its name among the containers, and its host name there: without an underscore."""
        return self.name.replace("_", "-")

    @property
    def image(self) -> str:
        """The image that the project builds for it."""
        return f"{self.compose.project}/{self.container}"

    def is_running(self) -> bool:
        """Tell whether its container runs."""
        return self.container in self.compose.running()

    def stop(self) -> bool:
        """Stop its container; tell whether it ran."""
        ran = self.is_running()
        self.compose.do("stop", self.container)
        return ran

    def is_well(self) -> bool:
        """Tell whether it runs and can work."""
        return is_ready(self.url) and self.is_running()


@dataclass(frozen=True)
class ContainerStack:
    """The services of one Compose project; ``state`` holds its secrets and what is remembered."""

    state: Path
    ports: Ports = field(default_factory=Ports)
    project: str = PROJECT
    secrets: Path | None = None

    @property
    def compose(self) -> Compose:
        """The project, with the ports and the folder of secrets filled in."""
        values = {
            "COMPOSE_SECRETS": str(self.secrets_folder),
            "AUTH_PORT": str(self.ports.auth_server),
            "BANK_PORT": str(self.ports.resource_server),
            "CLIENT_PORT": str(self.ports.client_service),
        }
        return Compose(self.project, values)

    @property
    def secrets_folder(self) -> Path:
        """Where the files lie that Compose mounts as secrets."""
        return self.secrets or self.state / "compose-secrets"

    @property
    def auth_server(self) -> ContainerService:
        """The authorization server's container."""
        return ContainerService("auth_server", self.ports.auth_server, self.compose)

    @property
    def resource_server(self) -> ContainerService:
        """The bank's container."""
        return ContainerService("resource_server", self.ports.resource_server, self.compose)

    @property
    def client_service(self) -> ContainerService:
        """The client's container."""
        return ContainerService("client_service", self.ports.client_service, self.compose)

    @property
    def services(self) -> tuple[ContainerService, ContainerService, ContainerService]:
        """All three, the one that others wait for first."""
        return self.auth_server, self.resource_server, self.client_service

    def up(self) -> None:
        """Build and start what does not run and return when all of it can work.

        Safe to call again: the jobs of the compose file are, and they run each time.
        """
        problem = why_no_containers()
        if problem:
            raise DemoError(f"the system cannot run in containers: {problem}")
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_secrets()
        running = self.compose.running()
        for service in self.services:
            if service.container not in running:
                require_free_port(service.name, service.port)
        remember(self.state, "docker", asdict(self.ports), self.project)
        self._start()
        self.wait_until_ready()

    def build(self) -> None:
        """Build the three images; Compose does so only beside the secrets."""
        self._make_secrets()
        self.compose.do("build", timeout=START_SECONDS)

    def wait_until_ready(self) -> None:
        """Return when all three can work; raise DemoError where one takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        for service in self.services:
            while not is_ready(service.url):
                if time.monotonic() > deadline:
                    raise DemoError(
                        f"the {service.name} is not ready after {READY_SECONDS} s: make logs"
                    )
                time.sleep(POLL_SECONDS)

    def down(self) -> list[ContainerService]:
        """Remove the containers; their data stays. Return those of the services that ran."""
        running = self.compose.running()
        self.compose.do("down", "--remove-orphans")
        return [service for service in self.services if service.container in running]

    def delete(self) -> None:
        """Remove the containers, all that they kept, and the images that were built for them."""
        self.compose.do("down", "--volumes", "--remove-orphans")
        remove_images(service.image for service in self.services)

    def run_once(self, settings: Mapping[str, str] | None = None) -> Run:
        """Let the client reconcile once, in a process of its own, and collect what happened.

        ``settings`` are changed for this run alone.
        """
        started = datetime.now(UTC) - CLOCKS_APART
        result = self.flask("client_service", "run-once", "--json", settings=settings)
        self._run_log().parent.mkdir(parents=True, exist_ok=True)
        with self._run_log().open("a") as log:
            log.write(result.stderr)
        try:
            report = json.loads(result.stdout)
        except ValueError:
            raise DemoError(last_line(result) or "the client said nothing") from None
        texts = [self._container_logs("--since", started.isoformat()), result.stderr]
        return Run(report, arrow_events(texts, report["trace_id"]))

    def logs(self) -> list[str]:
        """Return the text of every log."""
        run_log = self._run_log()
        return [self._container_logs(), run_log.read_text() if run_log.exists() else ""]

    def flask(
        self,
        service: str,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        given: str | None = None,
    ) -> CompletedProcess[str]:
        """Run a command of a service, in its container or, where it is stopped, in one like it.

        ``given`` is what it reads on standard input.
        """
        changed = [f"--env={name}={value}" for name, value in (settings or {}).items()]
        command = self._flask_command(service, "-T", *changed)
        return self.compose.run(*command, *arguments, given=given)

    def become_flask(self, service: str, *arguments: str) -> NoReturn:
        """Turn this process into a command of a service, which has the terminal if there is one."""
        at_a_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        options = () if at_a_terminal else ("-T",)
        self.compose.become(*self._flask_command(service, *options), *arguments)

    def _flask_command(self, service: str, *options: str) -> list[str]:
        container = service.replace("_", "-")
        is_running = container in self.compose.running()
        how = ["exec"] if is_running else ["run", "--rm", "--no-deps"]
        return [*how, *options, container, "flask", "--app", f"{service}.app"]

    def _make_secrets(self) -> None:
        """Make what is missing; refuse to where a database has passwords that are not here.

        Nothing is made then: the next start is refused too.
        """
        if lacks_a_password(self.secrets_folder) and self.compose.has_volume("databases"):
            raise DemoError(
                f"the databases are there from before, and their passwords are not in "
                f"{self.secrets_folder}: go on where that system was started, or delete it and its "
                f"data (docker compose --project-name {self.project} down --volumes)"
            )
        make_secrets(self.secrets_folder)

    def _start(self) -> None:
        started = self.compose.run(
            "up", "--detach", "--build", "--quiet-pull", timeout=START_SECONDS
        )
        if started.returncode == 0:
            return
        failed_job = re.search(r'service "([a-z-]+)" didn\'t complete', started.stderr)
        if failed_job:
            job = failed_job[1]
            said = self.compose.logs("--tail", "1", job)
            raise DemoError(f"{job}: {said.strip() or 'it said nothing'}")
        raise DemoError(
            f"the containers did not start: {last_line(started)} (without: make up STACK=local)"
        )

    def _container_logs(self, *options: str) -> str:
        names = [service.container for service in self.services]
        return self.compose.logs(*options, *names)

    def _run_log(self) -> Path:
        return self.state / "logs" / "run-once.log"
