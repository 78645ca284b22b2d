"""RFC 7009: how a client ends a token."""

import pytest

from tests.conformance.challenges import challenge_in
from tests.conformance.http_exchange import form_headers, send
from tests.conformance.token_endpoints import introspected, revoke
from tests.conformance.token_requests import basic, granted, in_the_body, refusal
from tests.conformance.under_test import AuthorizationServerUnderTest, Client, OtherResource

INVALID_CLIENT = (401, "invalid_client")
INVALID_REQUEST = (400, "invalid_request")

pytestmark = pytest.mark.usefixtures("revocation")


@pytest.fixture
def token(server: AuthorizationServerUnderTest) -> str:
    return str(granted(server)["access_token"])


def test_rfc7009_2_1_a_client_ends_a_token_of_its_own(
    server: AuthorizationServerUnderTest, token: str, resource_server: Client
) -> None:
    answer = revoke(server, token, client=server.client)

    assert answer.status == 200
    assert introspected(server, token, resource_server) == {"active": False}


def test_rfc7009_2_1_another_token_of_the_client_lives_on(
    server: AuthorizationServerUnderTest, token: str, resource_server: Client
) -> None:
    other = granted(server)["access_token"]

    revoke(server, token, client=server.client)

    assert introspected(server, other, resource_server)["active"] is True


def test_rfc7009_2_1_the_client_authenticates_in_the_body_too(
    server: AuthorizationServerUnderTest, token: str
) -> None:
    assert revoke(server, token, *in_the_body(server.client), client=None).status == 200


def test_rfc7009_2_1_without_authentication_no_token_ends(
    server: AuthorizationServerUnderTest, token: str, resource_server: Client
) -> None:
    wrong = Client(server.client.client_id, server.client.client_secret[:-1] + "~")

    answers = [revoke(server, token, client=client) for client in (None, wrong)]

    assert [refusal(answer) for answer in answers] == [INVALID_CLIENT] * 2
    assert introspected(server, token, resource_server)["active"] is True


def test_rfc7009_2_1_the_token_of_another_client_is_refused_and_lives_on(
    server: AuthorizationServerUnderTest,
    other_resource: OtherResource,
    token: str,
    resource_server: Client,
) -> None:
    answer = revoke(server, token, client=other_resource.client)

    assert (answer.status, bool(answer.members().get("error"))) == (400, True)
    assert introspected(server, token, resource_server)["active"] is True


def test_rfc7009_2_1_the_token_is_required(server: AuthorizationServerUnderTest) -> None:
    headers = form_headers(Authorization=basic(server.client))

    assert refusal(send("POST", server.revocation_url, headers, b"")) == INVALID_REQUEST


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "unheard_of"])
def test_rfc7009_2_1_a_hint_does_not_keep_the_token_from_ending(
    server: AuthorizationServerUnderTest, token: str, resource_server: Client, hint: str
) -> None:
    answer = revoke(server, token, ("token_type_hint", hint), client=server.client)

    assert answer.status == 200
    assert introspected(server, token, resource_server) == {"active": False}


@pytest.mark.parametrize("text", ["unknown", "a.b.c", "..", "\x00", "é", "=", "a" * 20_000])
def test_rfc7009_2_2_an_invalid_token_is_no_error(
    server: AuthorizationServerUnderTest, text: str
) -> None:
    assert revoke(server, text, client=server.client).status == 200


def test_rfc7009_2_2_a_token_that_ended_can_be_ended_again(
    server: AuthorizationServerUnderTest, token: str
) -> None:
    assert [revoke(server, token, client=server.client).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("who", ["wrong secret", "unknown client"])
def test_rfc7009_2_2_1_invalid_credentials_are_401_with_a_challenge(
    server: AuthorizationServerUnderTest, token: str, who: str
) -> None:
    secret = server.client.client_secret
    right, wrong = Client("nobody", secret), Client(server.client.client_id, secret[:-1] + "~")

    answer = revoke(server, token, client=wrong if who == "wrong secret" else right)

    assert refusal(answer) == INVALID_CLIENT
    assert challenge_in(answer.header("WWW-Authenticate")).scheme == "basic"


def test_rfc7009_2_3_no_token_is_ended_by_get(
    server: AuthorizationServerUnderTest, token: str, resource_server: Client
) -> None:
    headers = form_headers(Authorization=basic(server.client))

    answer = send("GET", f"{server.revocation_url}?token={token}&callback=x", headers)

    assert answer.status == 405
    assert introspected(server, token, resource_server)["active"] is True
