"""A new version in the vault is in use without a restart and without a failed call, in each vault.

One process writes, another reads: each opens the vault for itself.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client_service.token_source import TokenSource
from client_service.vault_credentials import VaultCredentials
from shared.settings import VaultSettings
from shared.vault import Vault, open_vault
from tests.stack.loopback import Asked, LoopbackServer, Reply
from tests.stack.vaults import running_vault

ENTRY = "bank-reconciler"
GRANTED = Reply(document={"access_token": "t", "token_type": "Bearer", "expires_in": 300})
REFUSED = Reply(401, {"error": "invalid_client"})

Tokens = Callable[..., TokenSource]


@pytest.fixture(params=["directory", "openbao", "aws", "azure"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VaultSettings]:
    with running_vault(request.param, ENTRY, tmp_path, monkeypatch) as named:
        yield named


@pytest.fixture
def writer(settings: VaultSettings) -> Vault:
    writer = open_vault(settings)
    deliver(writer, 1)
    return writer


def deliver(vault: Vault, number: int) -> None:
    """Write version ``number`` as the authorization server does: over the one before it."""
    fields = {"client_id": "client", "client_secret": f"secret-{number}"}
    assert vault.write(ENTRY, fields, expected_version=number - 1) == number


def secrets_sent(server: LoopbackServer) -> list[str]:
    return [asked.form["client_secret"] for asked in server.asked]


def test_each_of_ten_new_versions_is_in_use_at_the_next_renewal(
    settings: VaultSettings, writer: Vault, tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    source = tokens(credentials=VaultCredentials(open_vault(settings), ENTRY))
    source.token()
    for number in range(2, 12):
        deliver(writer, number)
        clock.time += 301
        source.token()

    assert secrets_sent(server) == [f"secret-{number}" for number in range(1, 12)]


def test_a_version_that_came_during_a_request_is_in_use_at_once_on_invalid_client(
    settings: VaultSettings, writer: Vault, tokens: Tokens, server: LoopbackServer
) -> None:
    def rotating(_: Asked) -> Reply:
        deliver(writer, 2)
        return REFUSED

    server.reply("/token", rotating, GRANTED)

    token = tokens(credentials=VaultCredentials(open_vault(settings), ENTRY)).token()

    assert token.value == "t"
    assert secrets_sent(server) == ["secret-1", "secret-2"]
