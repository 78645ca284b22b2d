"""Our own servers, started for the tests: what is tested where no other server was given."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from demo.container_secrets import CONTROL_TOKEN
from demo.processes import ROOT, Service
from shared.identifiers import ACCOUNT_PATH, SCOPE_READ, SCOPE_WRITE
from shared.settings import STATE_DIR_VARIABLE
from shared.vault import DirectoryVault
from tests.conformance.bank_requests import read_with
from tests.conformance.client_runs import ODD_CREDENTIALS, ODD_ENTRY, ClientUnderTest, Surroundings
from tests.conformance.registration import authorization_server, do, registered_clients
from tests.conformance.under_test import AuthorizationServerUnderTest, ResourceServerUnderTest
from tests.stack.issuer import METADATA_PATH, OwnIssuer
from tests.stack.local_stack import free_ports, local_stack
from tests.stack.loopback import Asked, LoopbackServer, Reply

OURS = ("AUTH_SERVER_", "RESOURCE_SERVER_", "CLIENT_SERVICE_", "OTEL_")


@contextmanager
def local_authorization_server(folder: Path) -> Iterator[AuthorizationServerUnderTest]:
    """Run the local stack's authorization server alone, with the clients that the tests need."""
    stack = local_stack(folder)
    service = stack.demo.auth_server
    key_file = folder / "secrets" / "auth_server_key_encryption_key"
    key_file.parent.mkdir(parents=True)
    key_file.write_bytes(Fernet.generate_key())
    do(stack, "migrate")
    of_bank = ("--scope", SCOPE_READ, "--scope", SCOPE_WRITE, "--default")
    do(stack, "resources", "add", stack.bank_url, *of_bank)
    try:
        service.start(_environment(folder, stack.demo.settings()))
        clients = registered_clients(stack)
        service.wait_until_ready()
        yield authorization_server(stack, clients)
    finally:
        service.stop()


@contextmanager
def local_resource_server(state: Path, **changes: str) -> Iterator[ResourceServerUnderTest]:
    """Run a bank that trusts the tests' own issuer, and that issuer; ``changes`` are settings."""
    bank = Service("resource_server", free_ports(1)[0], state)
    with OwnIssuer(audience=bank.url) as issuer, _running(bank, issuer.url, changes):
        yield ResourceServerUnderTest(bank.url + ACCOUNT_PATH, SCOPE_READ, issuer)


@dataclass(frozen=True)
class IntrospectingBank:
    """A bank that asks about every token, and what it is answered."""

    under_test: ResourceServerUnderTest
    server: LoopbackServer

    @property
    def asked(self) -> list[Asked]:
        """The questions that the bank asked so far."""
        return [asked for asked in self.server.asked if asked.path == "/introspect"]

    def answer(self, reply: Reply) -> None:
        """Answer the bank's questions by ``reply`` from now on."""
        self.server.reply("/introspect", reply)


@contextmanager
def introspecting_bank(state: Path) -> Iterator[IntrospectingBank]:
    """Run a bank that asks an issuer of the tests' own about each token, and that issuer."""
    bank = Service("resource_server", free_ports(1)[0], state)
    secret = state / "secrets" / "resource_server_introspection_client_secret"
    secret.parent.mkdir(parents=True)
    secret.write_text("sec:ret% +")
    with LoopbackServer() as server, OwnIssuer(audience=bank.url) as issuer:
        metadata = {"issuer": server.url, "introspection_endpoint": f"{server.url}/introspect"}
        server.reply(METADATA_PATH, Reply(document=metadata))
        server.reply("/introspect", Reply(document={"active": True, "client_id": "c"}))
        settings = {
            "RESOURCE_SERVER_TOKEN_CHECK": "introspection",
            "RESOURCE_SERVER_INTROSPECTION_CLIENT_ID": "bank:1",
        }
        with _running(bank, server.url, settings):
            under_test = ResourceServerUnderTest(bank.url + ACCOUNT_PATH, SCOPE_READ, issuer)
            read_with(under_test, "opaque")  # it looks up the endpoint, and keeps it
            yield IntrospectingBank(under_test, server)


@contextmanager
def _running(
    bank: Service, issuer: str, settings: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run ``bank`` on the demo's data, with ``settings`` beside those that it must have."""
    needed = {
        "RESOURCE_SERVER_BIND": f"127.0.0.1:{bank.port}",
        "RESOURCE_SERVER_ISSUER": issuer,
        "RESOURCE_SERVER_RESOURCE": bank.url,
        "RESOURCE_SERVER_LOG_REQUESTS": "access",  # the most that it logs: a test looks for tokens
        "RESOURCE_SERVER_TRANSPORT": "plain-http",
        "RESOURCE_SERVER_KEY_COOLDOWN_SECONDS": "1",
        "RESOURCE_SERVER_WORKERS": "1",
    }
    environment = _environment(bank.state, {**needed, **(settings or {})})
    _flask(environment, "migrate")
    _flask(environment, "ledger", "seed-demo")
    try:
        bank.start(environment)
        bank.wait_until_ready()
        yield
    finally:
        bank.stop()


def local_client_in(folder: Path) -> ClientUnderTest:
    """Return our client with its database and its credentials, in ``folder``."""
    stack = local_stack(folder)
    result = stack.cli("client_service", "migrate")
    assert result.returncode == 0, result.stderr
    stack.put_into_vault(ODD_ENTRY, ODD_CREDENTIALS)
    return ClientUnderTest(lambda _ports, settings: stack.run_once(**settings))


@contextmanager
def local_client_service(state: Path, around: Surroundings, control_token: str) -> Iterator[str]:
    """Run our client service among the servers ``around``, on demand alone; give its URL."""
    client = Service("client_service", free_ports(1)[0], state)
    secret = state / "secrets" / CONTROL_TOKEN
    secret.parent.mkdir(parents=True)
    secret.write_text(control_token)
    DirectoryVault(state / "vault").write(ODD_ENTRY, ODD_CREDENTIALS)
    settings = around.settings | {
        "CLIENT_SERVICE_BIND": f"127.0.0.1:{client.port}",
        "CLIENT_SERVICE_RECONCILE_SCHEDULE": "never",
        "CLIENT_SERVICE_FULL_AUDIT_SCHEDULE": "never",
        "CLIENT_SERVICE_PATIENCE_SECONDS": "0",
        "CLIENT_SERVICE_RECEIVE_TRACES": "true",
    }
    environment = _environment(state, settings)
    _flask(environment, "migrate", service="client_service")
    try:
        client.start(environment)
        client.wait_until_ready()
        yield client.url
    finally:
        client.stop()


def _flask(environment: dict[str, str], *arguments: str, service: str = "resource_server") -> None:
    command = [sys.executable, "-m", "flask", "--app", f"{service}.app", *arguments]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)


def _environment(state: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with ``settings``, and none that a developer has."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return clean | {STATE_DIR_VARIABLE: str(state), "FLASK_SKIP_DOTENV": "1", **settings}
