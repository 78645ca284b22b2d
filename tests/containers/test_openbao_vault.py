"""The vault provider against the server itself, in a container."""

import gc
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest
import requests
from docker.errors import DockerException
from docker.models.containers import Container
from pydantic import SecretStr

from client_service.token_messages import ClientCredentials
from client_service.vault_credentials import VaultCredentials
from shared.settings import VaultSettings
from shared.vault import (
    EntryNotFoundError,
    EntryVersion,
    Vault,
    VaultConflictError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultSealedError,
    VaultUnreachableError,
    open_vault,
)
from shared.vault.app_role import AppRole
from shared.vault.openbao import OpenBaoVault
from shared.vault.server import VaultServer
from tests.stack.local_stack import free_ports

IMAGE = "openbao/openbao:2"
ROOT_TOKEN = "root-of-the-tests"
READY_SECONDS = 30
OLD = {"client_id": "bank-reconciler", "client_secret": "old"}
NEW = {"client_id": "bank-reconciler", "client_secret": "new"}
POLICY = """
path "secret/data/bank" { capabilities = ["create", "update", "read"] }
path "secret/metadata/bank" { capabilities = ["read"] }
path "secret/data/read-only" { capabilities = ["read"] }
"""
ROLE_ID, SECRET_ID = SecretStr("role-of-the-tests"), SecretStr("s3cret-id-of-the-tests")


@dataclass(frozen=True)
class OpenBao:
    """A server in development mode: it keeps all in memory and forgets it at a restart."""

    container: Container
    url: str

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask as the root of the vault."""
        headers = {"X-Vault-Token": ROOT_TOKEN}
        answer = requests.request(
            method, f"{self.url}/v1/{path}", json=body, headers=headers, timeout=10
        )
        answer.raise_for_status()
        return answer

    def provision(self, **role: str) -> None:
        """Enable AppRole where it isn't, and register our role with the ids that we have."""
        if "approle/" not in self.ask("GET", "sys/auth").json()["data"]:
            self.ask("POST", "sys/auth/approle", {"type": "approle"})
        self.ask("PUT", "sys/policies/acl/tests", {"policy": POLICY})
        name = "auth/approle/role/tests"
        self.ask("POST", name, {"token_policies": ["tests"], "token_ttl": "20m", **role})
        self.ask("POST", f"{name}/role-id", {"role_id": ROLE_ID.get_secret_value()})
        secret_id = {"secret_id": SECRET_ID.get_secret_value()}
        if (
            requests.post(
                f"{self.url}/v1/auth/approle/login",
                json={"role_id": ROLE_ID.get_secret_value(), **secret_id},
                timeout=10,
            ).status_code
            != 200
        ):
            self.ask("POST", f"{name}/custom-secret-id", secret_id)

    def restart(self) -> None:
        self.container.restart(timeout=5)
        self.wait()

    def wait(self) -> None:
        """Return when it can be asked; the mount `secret/` is the last thing that it makes."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                if "secret/" in self.ask("GET", "sys/mounts").json()["data"]:
                    return
            except requests.RequestException as error:
                if time.monotonic() > end:
                    log = self.container.logs().decode()
                    raise AssertionError(f"OpenBao did not come up; its log: {log}") from error
            time.sleep(0.1)


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    reason = why_no_engine_answers()
    if reason:
        pytest.skip(f"no Docker engine answers: {reason}")
    client = docker.from_env()
    yield client
    client.close()


def why_no_engine_answers() -> str:
    """Return the reason, "" where one answers."""
    with warnings.catch_warnings():
        # The SDK leaves its socket open where it cannot connect; the collector closes it here.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            docker.from_env().close()
            reason = ""
        except DockerException as error:
            reason = type(error).__name__
        gc.collect()
    return reason


@pytest.fixture(scope="module")
def started(engine: docker.DockerClient) -> Iterator[OpenBao]:
    (port,) = free_ports(1)
    container = engine.containers.run(
        IMAGE,
        ["server", "-dev"],
        environment={
            "BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN,
            "BAO_DEV_LISTEN_ADDRESS": "0.0.0.0:8200",
        },
        ports={"8200/tcp": ("127.0.0.1", port)},  # a port of the engine's choice ends at a restart
        detach=True,
    )
    try:
        server = OpenBao(container, f"http://127.0.0.1:{port}")
        server.wait()
        yield server
    finally:
        container.remove(force=True, v=True)


@pytest.fixture
def openbao(started: OpenBao) -> OpenBao:
    """A server that knows our role, whatever the test before did to it."""
    if requests.get(f"{started.url}/v1/sys/seal-status", timeout=10).json()["sealed"]:
        started.restart()
    started.provision()
    requests.delete(
        f"{started.url}/v1/secret/metadata/bank",
        headers={"X-Vault-Token": ROOT_TOKEN},
        timeout=10,
    ).raise_for_status()
    return started


@pytest.fixture
def vault(openbao: OpenBao) -> Vault:
    return vault_at(openbao.url)


def vault_at(url: str, secret_id: SecretStr = SECRET_ID) -> Vault:
    settings = VaultSettings(
        bind="localhost:1",
        database_url="sqlite://",
        vault="openbao",
        vault_url=url,
        vault_role_id=ROLE_ID,
        vault_secret_id=secret_id,
    )
    return open_vault(settings)


def test_what_is_written_can_be_read(vault: Vault) -> None:
    vault.write("bank", OLD)

    assert vault.read("bank") == OLD


def test_a_write_is_one_version_that_replaces_every_field(openbao: OpenBao, vault: Vault) -> None:
    vault.write("bank", OLD | {"old_field": "x"})
    vault.write("bank", NEW)

    metadata = openbao.ask("GET", "secret/metadata/bank").json()["data"]
    assert vault.read("bank") == NEW
    assert metadata["current_version"] == 2


def test_an_entry_that_is_not_there_is_said_to_be_missing(vault: Vault) -> None:
    with pytest.raises(EntryNotFoundError, match="no entry secret/read-only"):
        vault.read("read-only")


def test_an_entry_whose_newest_version_was_deleted_is_missing(
    openbao: OpenBao, vault: Vault
) -> None:
    vault.write("bank", OLD)
    openbao.ask("DELETE", "secret/data/bank")

    with pytest.raises(EntryNotFoundError, match="no entry secret/bank"):
        vault.read("bank")


def test_the_newest_version_is_told_whatever_became_of_it(openbao: OpenBao, vault: Vault) -> None:
    told = [vault.version("bank")]
    vault.write("bank", OLD)
    told.append(vault.version("bank"))
    openbao.ask("DELETE", "secret/data/bank")
    told.append(vault.version("bank"))
    vault.write("bank", NEW, expected_version=1)
    openbao.ask("PUT", "secret/destroy/bank", {"versions": [2]})
    told.append(vault.version("bank"))

    assert told == [
        EntryVersion(0, is_readable=False),
        EntryVersion(1, is_readable=True),
        EntryVersion(1, is_readable=False),
        EntryVersion(2, is_readable=False),
    ]


def test_a_version_that_will_be_deleted_one_day_can_be_read(openbao: OpenBao, vault: Vault) -> None:
    openbao.ask("POST", "secret/metadata/bank", {"delete_version_after": "1h"})
    vault.write("bank", OLD)

    assert vault.version("bank") == EntryVersion(1, is_readable=True)


@pytest.mark.parametrize("expected", [0, 2])
def test_a_write_over_another_version_than_the_expected_is_a_conflict(
    vault: Vault, expected: int
) -> None:
    vault.write("bank", OLD, expected_version=0)

    with pytest.raises(VaultConflictError, match=f"is at version 1, not {expected}"):
        vault.write("bank", NEW, expected_version=expected)
    assert vault.read("bank") == OLD


def test_what_the_policy_does_not_allow_is_said_to_be_forbidden(vault: Vault) -> None:
    with pytest.raises(VaultForbiddenError, match="to write secret/read-only"):
        vault.write("read-only", OLD)


def test_a_wrong_secret_id_is_a_refused_login(openbao: OpenBao) -> None:
    with pytest.raises(VaultLoginRefusedError):
        vault_at(openbao.url, SecretStr("wr0ng")).read("bank")


def test_a_token_is_renewed_and_goes_on_to_serve(openbao: OpenBao) -> None:
    passed = [0.0]
    server = VaultServer(openbao.url)
    role = AppRole(server, ROLE_ID, SECRET_ID, lambda: passed[0])
    vault = OpenBaoVault(server, role)
    vault.write("bank", OLD)
    first = role.token()
    passed[0] = 1000  # of the 1200 seconds that the role's tokens live

    assert vault.read("bank") == OLD
    assert (role.token().value, role.token().ends_at) == (first.value, 2200)


def test_a_token_near_its_longest_life_is_replaced_by_a_login(openbao: OpenBao) -> None:
    openbao.provision(token_ttl="3s", token_max_ttl="4s")
    server = VaultServer(openbao.url)
    role = AppRole(server, ROLE_ID, SECRET_ID)
    try:
        first = role.token()
        time.sleep(2.1)

        assert role.token().value != first.value
    finally:
        openbao.provision(token_max_ttl="0")


def test_a_token_that_was_revoked_is_replaced_by_a_login(openbao: OpenBao) -> None:
    server = VaultServer(openbao.url)
    role = AppRole(server, ROLE_ID, SECRET_ID)
    vault = OpenBaoVault(server, role)
    vault.write("bank", OLD)
    openbao.ask("POST", "auth/token/revoke", {"token": role.token().value})

    assert vault.read("bank") == OLD


def test_a_client_goes_on_while_the_vault_is_sealed_away_and_empty_until_it_is_provisioned(
    openbao: OpenBao,
) -> None:
    vault = vault_at(openbao.url)
    vault.write("bank", OLD)
    credentials = VaultCredentials(vault, "bank")
    served = [credentials()]

    openbao.ask("PUT", "sys/seal")
    with pytest.raises(VaultSealedError):
        vault.read("bank")
    served.append(credentials())

    openbao.container.stop(timeout=5)
    with pytest.raises(VaultUnreachableError):
        vault.read("bank")
    served.append(credentials())

    openbao.restart()
    with pytest.raises(VaultLoginRefusedError):
        vault.read("bank")
    served.append(credentials())

    openbao.provision()
    vault.write("bank", NEW)
    served.append(credentials())

    old = ClientCredentials("bank-reconciler", "old")
    assert served == [old, old, old, old, ClientCredentials("bank-reconciler", "new")]
