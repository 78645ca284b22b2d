import json
import logging
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from pydantic import SecretStr

from client_service.app import ClientService
from client_service.runs import Trigger, find_run
from client_service.token_messages import ClientCredentials, TokenError
from client_service.vault_credentials import VAULT_PRIVATE_JWK, VaultCredentials
from shared.vault import DirectoryVault, VaultError
from tests.stack.issuer import signing_keys
from tests.stack.loopback import LoopbackServer
from tests.stack.openbao import ROLE_ID, SECRET_ID, OpenBaoInMemory

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


def test_what_a_readiness_check_read_serves_on_too(vault: DirectoryVault) -> None:
    credentials = VaultCredentials(vault, ENTRY)
    seen = credentials.read()
    credentials.entry = "gone"

    assert credentials() == seen


def test_a_client_that_signs_has_a_private_key_in_the_vault(vault: DirectoryVault) -> None:
    jwk = private_jwk()
    vault.write(ENTRY, {"client_id": "signer", "private_jwk": jwk})

    credentials = VaultCredentials(vault, ENTRY, VAULT_PRIVATE_JWK)

    assert credentials() == ClientCredentials("signer", private_jwk=jwk)
    assert jwk not in repr(credentials)


def test_a_key_that_cannot_sign_is_told_and_the_last_good_one_serves_on(
    vault: DirectoryVault, caplog: pytest.LogCaptureFixture
) -> None:
    vault.write(ENTRY, {"client_id": "signer", "private_jwk": private_jwk()})
    credentials = VaultCredentials(vault, ENTRY, VAULT_PRIVATE_JWK)
    good = credentials()
    vault.write(ENTRY, {"client_id": "signer", "private_jwk": '{"kty": "s3cret"}'})

    assert credentials() == good
    assert "'bank-reconciler': private_jwk: it is no JWK" in caplog.text
    assert "s3cret" not in caplog.text


def private_jwk() -> str:
    return json.dumps(signing_keys()["ec"].pair.as_dict(private=True))


def test_a_client_that_signs_sends_an_assertion_and_no_secret(
    make_app: Callable[..., Flask], server: LoopbackServer, vault: DirectoryVault
) -> None:
    vault.write(ENTRY, {"client_id": "signer", "private_jwk": private_jwk()})
    app = make_app(auth_method="private_key_jwt")

    assert app.test_cli_runner().invoke(args=["token"]).output == "first\n"
    (form,) = (asked.form for asked in server.asked if asked.path == "/token")
    assert form.keys() == {"grant_type", "scope", "client_assertion_type", "client_assertion"}


@pytest.fixture
def openbao() -> Iterator[OpenBaoInMemory]:
    with OpenBaoInMemory(LoopbackServer(), entry=ENTRY) as running:
        running.versions = [{"client_id": "client", "client_secret": "s3cret"}]
        yield running


@pytest.fixture
def app_with_openbao(make_app: Callable[..., Flask], openbao: OpenBaoInMemory) -> Flask:
    return make_app(
        vault="openbao",
        vault_url=openbao.http.url,
        vault_role_id=SecretStr(ROLE_ID),
        vault_secret_id=SecretStr(SECRET_ID),
    )


def test_while_the_vault_is_sealed_a_client_is_not_ready_and_says_that_it_is_the_vault(
    app_with_openbao: Flask, openbao: OpenBaoInMemory, caplog: pytest.LogCaptureFixture
) -> None:
    browser = app_with_openbao.test_client()
    states = []
    for openbao.sealed in (False, True, False):
        answer = browser.get("/readyz")
        states.append((answer.status_code, answer.get_json()["checks"]["vault"]))

    assert states == [(200, True), (503, False), (200, True)]
    assert f"not ready: vault: the vault at {openbao.http.url} is sealed" in caplog.text


def test_while_the_vault_is_sealed_a_client_gets_tokens_with_what_it_read_last(
    app_with_openbao: Flask, openbao: OpenBaoInMemory, server: LoopbackServer
) -> None:
    service: ClientService = app_with_openbao.extensions["client_service"]
    app_with_openbao.test_client().get("/readyz")
    openbao.sealed = True

    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None

    service.worker.work(lease)

    run = find_run(service.database, lease.run_id)
    assert run is not None
    assert run.status == "succeeded"
    assert next(asked.form for asked in server.asked if asked.body)["client_secret"] == "s3cret"
