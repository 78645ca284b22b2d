"""The local stack for the tests: the demo's own, on free ports, in a folder of its own."""

import json
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from demo.container_secrets import CONTROL_TOKEN
from demo.local_stack import LocalStack as DemoStack
from demo.local_stack import Ports
from shared.vault import DirectoryVault
from tests.stack import RegisteredClient, Run, Stack


@dataclass(frozen=True)
class LocalStack:
    """Three local processes; offers what `tests.stack.Stack` says, and more: the processes."""

    demo: DemoStack

    @property
    def auth_url(self) -> str:
        """Base URL of the authorization server, which is the issuer too."""
        return self.demo.auth_server.url

    @property
    def auth_url_for_services(self) -> str:
        """Base URL at which the other services reach the authorization server."""
        return self.auth_url

    @property
    def bank_url(self) -> str:
        """Base URL of the bank, which is its resource identifier too."""
        return self.demo.resource_server.url

    @property
    def client_url(self) -> str:
        """Base URL of the client service."""
        return self.demo.client_service.url

    @property
    def metrics_url(self) -> str:
        """Where the authorization server shows its metrics, if the stack was told an address."""
        return f"http://{self.demo.more_settings['AUTH_SERVER_METRICS_BIND']}/metrics"

    @property
    def client_metrics_url(self) -> str:
        """Where the client service shows its own, if the stack was told an address."""
        return f"http://{self.demo.more_settings['CLIENT_SERVICE_METRICS_BIND']}/metrics"

    @property
    def control_token(self) -> str:
        """What `POST /runs` of the client service asks for."""
        return (self.demo.state / "secrets" / CONTROL_TOKEN).read_text().strip()

    def run_once(self, **settings: str) -> Run:
        """Run the client's job once, in a process of its own, with these settings changed."""
        run = self.demo.run_once(settings)
        return Run(run.report, run.events)

    def cli(self, service: str, *arguments: str, given: str | None = None) -> CompletedProcess[str]:
        """Run `flask --app SERVICE.app ARGUMENTS` with the stack's settings."""
        return self.demo.flask(service, *arguments, given=given)

    def put_into_vault(self, entry: str, fields: Mapping[str, str]) -> None:
        """Write an entry that the client service can read."""
        self._vault().write(entry, fields)

    def read_from_vault(self, entry: str) -> Mapping[str, str]:
        """Return the fields of an entry."""
        return self._vault().read(entry)

    def logs(self) -> str:
        """Return everything that the services have logged so far."""
        return "\n".join(self.demo.logs())

    def _vault(self) -> DirectoryVault:
        return DirectoryVault(self.demo.state / "vault")


def local_stack(folder: Path, **settings: str) -> LocalStack:
    """Return a stack that keeps everything in ``folder``, on ports that are free now."""
    return LocalStack(DemoStack(folder, Ports(*free_ports(3)), settings))


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; chosen first, as the issuer follows from them."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for chosen in sockets:
            chosen.bind(("127.0.0.1", 0))
        return [chosen.getsockname()[1] for chosen in sockets]


def register_client(stack: Stack, name: str, *options: str) -> RegisteredClient:
    """Register a client by the authorization server's own command line."""
    result = stack.cli("auth_server", "clients", "add", name, *options, "--json")
    assert result.returncode == 0, result.stderr
    client: dict[str, Any] = json.loads(result.stdout)
    return RegisteredClient(client["client_id"], client["client_secret"])
