"""The stack of containers for the tests: the shipped docker-compose.yml as a project of its own."""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from testcontainers.compose import DockerCompose

from demo.container_secrets import CONTROL_TOKEN, MARK, make_secrets
from demo.container_stack import ContainerStack as DemoStack
from demo.local_stack import Ports
from demo.processes import ROOT
from tests.stack import Run
from tests.stack.local_stack import free_ports

# It runs in a container like the job that sets the vault up: only there is the root token at hand,
# and the vault's network has no way out.
AS_ROOT_OF_THE_VAULT = """
import json, os, sys
from pathlib import Path
from deploy.vault_api import VaultApi

vault = VaultApi(os.environ["VAULT_URL"])
token = Path("/run/secrets/openbao_environment").read_text().strip().partition("=")[2]
answers = [vault.do(method, path, token, body) for method, path, body in json.loads(sys.argv[1])]
print(json.dumps(answers))
"""
CLIENTS_POLICY = "sys/policies/acl/client_service"

Question = tuple[str, str, object]
"""Method, path and body of a request to the vault."""


@dataclass(frozen=True)
class ContainerStack:
    """Containers; offers what `tests.stack.Stack` says, and more: the Compose project."""

    demo: DemoStack

    @property
    def auth_url(self) -> str:
        """Base URL of the authorization server, which is the issuer too."""
        return self.demo.auth_server.url

    @property
    def auth_url_for_services(self) -> str:
        """Base URL at which the other services reach the authorization server."""
        return "http://auth-server:9000"

    @property
    def bank_url(self) -> str:
        """Base URL of the bank, which is its resource identifier too."""
        return self.demo.resource_server.url

    @property
    def client_url(self) -> str:
        """Base URL of the client service."""
        return self.demo.client_service.url

    @property
    def control_token(self) -> str:
        """What `POST /runs` of the client service asks for."""
        return (self.demo.secrets_folder / CONTROL_TOKEN).read_text().strip()

    def run_once(self, **settings: str) -> Run:
        """Run the client's job once, in a process of its own, with these settings changed."""
        run = self.demo.run_once(settings)
        return Run(run.report, run.events)

    def cli(self, service: str, *arguments: str, given: str | None = None) -> CompletedProcess[str]:
        """Run `flask --app SERVICE.app ARGUMENTS` in the container of the service."""
        return self.demo.flask(service, *arguments, given=given)

    def put_into_vault(self, entry: str, fields: Mapping[str, str]) -> None:
        """Write an entry, and let the client service read it beside those that it could read."""
        (policy,) = self.ask_vault(("GET", CLIENTS_POLICY, None))
        allowed = f'path "secret/data/{entry}" {{ capabilities = ["read"] }}\n'
        self.ask_vault(
            ("PUT", CLIENTS_POLICY, {"policy": policy["data"]["policy"] + allowed}),
            ("POST", f"secret/data/{entry}", {"data": dict(fields)}),
        )

    def read_from_vault(self, entry: str) -> Mapping[str, str]:
        """Return the fields of an entry."""
        (answer,) = self.ask_vault(("GET", f"secret/data/{entry}", None))
        fields: Mapping[str, str] = answer["data"]["data"]
        return fields

    def logs(self) -> str:
        """Return everything that the services have logged so far."""
        return "\n".join(self.demo.logs())

    def secrets(self) -> dict[str, str]:
        """Return what Compose mounts as secrets, by the name of its file."""
        folder = self.demo.secrets_folder
        files = (file for file in folder.iterdir() if file.name != MARK)
        texts = {file.name: file.read_text().strip() for file in files}
        return {name: text.removeprefix("BAO_DEV_ROOT_TOKEN_ID=") for name, text in texts.items()}

    def ask_vault(self, *questions: Question) -> list[dict[str, Any]]:
        """Ask the vault as its root; return the documents that it answered."""
        command = ("vault-setup", "python", "-c", AS_ROOT_OF_THE_VAULT, json.dumps(questions))
        said = self.demo.compose.do("run", "--rm", "--no-deps", "-T", *command)
        answers: list[dict[str, Any]] = json.loads(said)
        return answers


@contextmanager
def container_stack(
    folder: Path, settings: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[ContainerStack]:
    """Bring the system up beside any other, on ports that are free now; remove all of it after.

    ``settings``: what a service has in its environment beside what the compose file says.
    """
    project = f"flow-under-test-{secrets.token_hex(4)}"
    demo = DemoStack(folder, Ports(*free_ports(3)), project)
    make_secrets(demo.secrets_folder)
    files = ["docker-compose.yml", *_settings_file(folder, settings)]
    # Not its `wait`: for that, a job that has done its work and ended is a failure.
    compose = DockerCompose(ROOT, files, build=True, wait=False)
    values = {**demo.compose.values, "COMPOSE_PROJECT_NAME": project}
    try:
        with _environment(values):
            compose.start()
        for service in demo.services:
            compose.wait_for(f"{service.url}/readyz")
        yield ContainerStack(demo)
    finally:
        demo.delete()


def _settings_file(folder: Path, settings: Mapping[str, Mapping[str, str]] | None) -> list[str]:
    """Return the path of a second compose file with ``settings``; no path where there are none."""
    if settings is None:
        return []
    services = {name: {"environment": dict(values)} for name, values in settings.items()}
    file = folder / "settings.json"  # JSON is YAML too
    file.write_text(json.dumps({"services": services}))
    return [str(file)]


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set the variables from which DockerCompose takes project and ports, for its calls alone."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in values.items():
            environment.setenv(name, value)
        yield
