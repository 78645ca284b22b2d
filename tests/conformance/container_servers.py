"""Our own parties in containers: what is tested beside the local ones where an engine answers.

Each reaches the tests' own servers at the address that these have on this machine: `tunnel`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from demo.event_log import arrow_events
from shared.identifiers import ACCOUNT_PATH, SCOPE_READ
from tests.conformance.client_runs import ODD_CREDENTIALS, ODD_ENTRY, ClientUnderTest
from tests.conformance.registration import authorization_server, registered_clients
from tests.conformance.under_test import AuthorizationServerUnderTest, ResourceServerUnderTest
from tests.stack import Run
from tests.stack.container_stack import ContainerStack
from tests.stack.issuer import METADATA_PATH, OwnIssuer
from tests.stack.single_containers import SingleContainer, SingleContainers, wait_until_ready
from tests.stack.tunnel import tunnel

# In its memory: of the vault in the next container it would say, rightly, that secrets come from
# there in clear text, in the run that declares TLS.
VAULT_DIRECTORY = "/tmp/vault"  # noqa: S108 - a folder in the container
WRITE_ENTRY = """
import json, pathlib, sys
from shared.vault import DirectoryVault

directory, entry, fields = sys.argv[1:]
DirectoryVault(pathlib.Path(directory)).write(entry, json.loads(fields))
"""
# Of the compose file's settings these have no value that means "none".
OF_ANOTHER_CONTAINER = ("CLIENT_SERVICE_METADATA_URL", "CLIENT_SERVICE_VAULT_URL")


def authorization_server_of(stack: ContainerStack) -> AuthorizationServerUnderTest:
    """Return the stack's authorization server, with the clients that the tests need."""
    return authorization_server(stack, registered_clients(stack))


@contextmanager
def bank_in_a_container(containers: SingleContainers) -> Iterator[ResourceServerUnderTest]:
    """Run a bank that trusts the tests' own issuer, and that issuer."""
    bank = containers.demo.resource_server
    with OwnIssuer(audience=bank.url) as issuer:
        settings = {
            "RESOURCE_SERVER_ISSUER": issuer.url,
            "RESOURCE_SERVER_METADATA_URL": issuer.url + METADATA_PATH,
            "RESOURCE_SERVER_KEY_COOLDOWN_SECONDS": "1",
            "RESOURCE_SERVER_WORKERS": "1",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "",
        }
        with (
            containers.running(bank, settings) as container,
            tunnel(container.name, [issuer.port]),
        ):
            wait_until_ready(bank.url)
            yield ResourceServerUnderTest(bank.url + ACCOUNT_PATH, SCOPE_READ, issuer)


@contextmanager
def client_in_a_container(containers: SingleContainers) -> Iterator[ClientUnderTest]:
    """Keep a container of the client service ready for its runs; it does none by itself."""
    client = containers.demo.client_service
    settings = {
        "CLIENT_SERVICE_VAULT": "directory",
        "CLIENT_SERVICE_VAULT_DIRECTORY": VAULT_DIRECTORY,
    }
    with containers.running(client, settings, "sleep", "infinity") as container:
        entry = (VAULT_DIRECTORY, ODD_ENTRY, json.dumps(ODD_CREDENTIALS))
        written = container.run("python", "-c", WRITE_ENTRY, *entry)
        assert written.returncode == 0, written.stderr

        def run_once(ports: Sequence[int], settings: Mapping[str, str]) -> Run:
            with tunnel(container.name, ports):
                return _run_once(container, settings)

        yield ClientUnderTest(run_once)


def _run_once(container: SingleContainer, settings: Mapping[str, str]) -> Run:
    without = [f"--unset={name}" for name in OF_ANOTHER_CONTAINER]
    command = ("flask", "--app", "client_service.app", "run-once", "--json")
    result = container.run("env", *without, *command, settings=settings)
    assert result.stdout, result.stderr
    report = json.loads(result.stdout)
    return Run(report, arrow_events([result.stderr], report["trace_id"]))
