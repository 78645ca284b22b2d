import logging

import pytest

from client_service.token_messages import ClientCredentials, TokenError
from client_service.vault_credentials import VaultCredentials
from shared.vault import DirectoryVault, VaultError

ENTRY = "bank-reconciler"


def test_a_new_secret_in_the_vault_is_read_at_the_next_call(vault: DirectoryVault) -> None:
    credentials = VaultCredentials(vault, ENTRY)
    before = credentials()

    vault.write(ENTRY, {"client_id": "client", "client_secret": "new"})

    assert before == ClientCredentials("client", "s3cret")
    assert credentials() == ClientCredentials("client", "new")


def test_the_last_good_credentials_serve_while_the_vault_cannot_be_read(
    vault: DirectoryVault, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = VaultCredentials(vault, ENTRY)
    good = credentials()
    credentials.entry = "gone"

    with caplog.at_level(logging.WARNING):
        assert credentials() == good
    assert len(caplog.records) == 1


def test_without_any_credentials_there_is_no_token(vault: DirectoryVault) -> None:
    with pytest.raises(TokenError) as caught:
        VaultCredentials(vault, "none")()

    assert (caught.value.code, caught.value.status) == ("no_credentials", None)


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"client_id": "client"}, "no client_secret"),
        ({"client_secret": "s"}, "no client_id"),
        ({"client_id": "", "client_secret": ""}, "no client_id and no client_secret"),
    ],
    ids=["no secret", "no id", "both empty"],
)
def test_an_entry_that_lacks_a_field_is_told(
    vault: DirectoryVault, fields: dict[str, str], missing: str
) -> None:
    vault.write("half", fields)

    with pytest.raises(VaultError, match=f"{missing}$"):
        VaultCredentials(vault, "half").read()


def test_no_secret_stands_in_the_repr(vault: DirectoryVault) -> None:
    credentials = VaultCredentials(vault, ENTRY)
    credentials()

    assert "s3cret" not in repr(credentials)
