import base64
import logging
from pathlib import Path

import pytest
from authlib.oauth2 import OAuth2Error

from auth_server.client_authentication import ClientAuthentication, validate_client
from auth_server.client_authentication.private_key_jwt import assertion_check
from auth_server.errors import InvalidClientError
from auth_server.registry import LiveSecret, RegisteredClient, secret_hash
from auth_server.scope_policy import ClientRights
from auth_server.token_form import TokenForm
from shared.database import Database
from tests.unit.auth_server.running import settings_for

RIGHTS = ClientRights({"urn:bank": ("Read",)}, "urn:bank", may_have_id_token=True)
SECRET = (LiveSecret(secret_hash("s3cret"), None),)
CLIENTS = {
    "worker": RegisteredClient("worker", "client_secret_basic", False, RIGHTS, SECRET),
    "poster": RegisteredClient("poster", "client_secret_post", False, RIGHTS, SECRET),
    "gone": RegisteredClient("gone", "client_secret_basic", True, RIGHTS, SECRET),
    "prover": RegisteredClient("prover", "private_key_jwt", False, RIGHTS, SECRET),
}
NO_DATABASE = Database("sqlite://")  # none of these requests gets as far as that
ASSERTIONS = assertion_check(settings_for(Path("none.db")), NO_DATABASE, lambda: 1000.0)
AUTHENTICATION = ClientAuthentication(CLIENTS.get, ASSERTIONS, lambda: 1000.0)


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def authenticate(authorization: str | None = None, **parameters: str) -> RegisteredClient:
    form = TokenForm(parameters, (), authorization)
    return validate_client(AUTHENTICATION, form)


def error_of(authorization: str | None = None, **parameters: str) -> tuple[int, str]:
    with pytest.raises(OAuth2Error) as refused:
        authenticate(authorization, **parameters)
    return int(refused.value.status_code), str(refused.value.error)


@pytest.mark.parametrize("client_id", ["worker", "poster"])
def test_the_two_methods_with_a_secret_are_interchangeable(client_id: str) -> None:
    by_header = authenticate(basic(f"{client_id}:s3cret"))
    by_body = authenticate(client_id=client_id, client_secret="s3cret")
    assert by_header == by_body == CLIENTS[client_id]


def test_success_passes_arrow_2_with_the_client_and_its_method(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    authenticate(basic("worker:s3cret"))
    event = caplog.records[-1].__dict__["event"]
    assert (event["arrow"], event["parameters"]) == (
        2,
        {"client_id": "worker", "method": "client_secret_basic"},
    )


def test_elsewhere_than_at_the_token_endpoint_no_arrow_passes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    client = AUTHENTICATION.client_of(TokenForm({}, (), basic("worker:s3cret")))
    assert (client, caplog.records) == (CLIENTS["worker"], [])


def test_the_secret_that_matched_is_known_afterwards() -> None:
    authenticated = AUTHENTICATION.authenticate(TokenForm({}, (), basic("worker:s3cret")))
    assert (authenticated.method, authenticated.secret) == ("client_secret_basic", SECRET[0])


@pytest.mark.parametrize(
    ("authorization", "client_id"),
    [(basic("worker:wrong"), "worker"), (basic("nobody:wrong"), "nobody"), ("Basic ???", None)],
    ids=["wrong secret", "unknown client", "malformed"],
)
def test_a_failure_knows_the_client_that_the_request_claimed_to_come_from(
    authorization: str, client_id: str | None
) -> None:
    with pytest.raises(InvalidClientError) as refused:
        authenticate(authorization)
    assert refused.value.client_id == client_id


def test_a_client_id_in_the_body_beside_basic_is_no_second_mechanism() -> None:
    assert authenticate(basic("worker:s3cret"), client_id="worker") == CLIENTS["worker"]


@pytest.mark.parametrize(
    "authorization",
    [basic("worker:wrong"), basic("nobody:s3cret"), basic("gone:s3cret"), basic("prover:s3cret"),
     basic("worker"), "Basic ???", "", "Bearer abc", 'Digest username="worker", realm="x y"'],
)  # fmt: skip
def test_a_header_that_authenticates_nobody_is_401_invalid_client(authorization: str) -> None:
    assert error_of(authorization) == (401, "invalid_client")


@pytest.mark.parametrize(
    "parameters",
    [{}, {"client_id": "worker"}, {"client_secret": "s3cret"}, {"client_assertion": "x"},
     {"client_assertion_type": "x"}, {"client_id": "worker", "client_secret": "wrong"}],
    ids=lambda parameters: "+".join(parameters) or "nothing",
)  # fmt: skip
def test_a_body_that_authenticates_nobody_is_401_invalid_client(
    parameters: dict[str, str],
) -> None:
    assert error_of(None, **parameters) == (401, "invalid_client")


def test_another_client_id_in_the_body_than_in_the_header_is_401_invalid_client() -> None:
    assert error_of(basic("worker:s3cret"), client_id="poster") == (401, "invalid_client")


@pytest.mark.parametrize(
    ("authorization", "parameters"),
    [(basic("worker:s3cret"), {"client_id": "worker", "client_secret": "s3cret"}),
     (basic("worker:s3cret"), {"client_assertion": "x"}),
     (basic("worker:s3cret"), {"client_assertion_type": "x"}),
     ("Bearer x", {"client_secret": "s3cret"}),
     (None, {"client_secret": "s3cret", "client_assertion": "x"}),
     (None, {"client_secret": "s3cret", "client_assertion_type": "x"}),
     (basic("worker:s3cret") + "," + basic("worker:s3cret"), {}),
     ("Bearer x, " + basic("worker:s3cret"), {})],
    ids=["basic+post", "basic+assertion", "basic+half an assertion", "bearer+post",
         "post+assertion", "post+half an assertion", "two headers", "two schemes"],
)  # fmt: skip
def test_more_than_one_mechanism_is_400_invalid_request(
    authorization: str | None, parameters: dict[str, str]
) -> None:
    assert error_of(authorization, **parameters) == (400, "invalid_request")
