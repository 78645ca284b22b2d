"""RFC 7662: what a resource server hears of a token."""

import time

import pytest

from tests.conformance.challenges import challenge_in
from tests.conformance.http_exchange import form_headers, send
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.token_endpoints import introspect, introspected, revoke
from tests.conformance.token_requests import (
    basic,
    granted,
    in_the_body,
    refusal,
    request_token,
    scope_asked,
)
from tests.conformance.under_test import AuthorizationServerUnderTest, Client, OtherResource

INVALID_CLIENT = (401, "invalid_client")
INVALID_REQUEST = (400, "invalid_request")
INACTIVE = {"active": False}


@pytest.fixture
def token(server: AuthorizationServerUnderTest) -> str:
    return str(granted(server, scope_asked(server))["access_token"])


def changed(token: str) -> str:
    """Return ``token`` with another signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{('B' if signature[0] == 'A' else 'A') + signature[1:]}"


# §2.1 The request


def test_rfc7662_2_1_the_token_is_sent_as_a_form_by_post(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    assert introspect(server, token, client=resource_server).status == 200


def test_rfc7662_2_1_the_caller_authenticates_in_the_body_too(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    answer = introspect(server, token, *in_the_body(resource_server), client=None)

    assert answer.json()["active"] is True


def test_rfc7662_2_1_without_authentication_nothing_is_said(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    assert refusal(introspect(server, token, client=None)) == INVALID_CLIENT


def test_rfc7662_2_1_the_token_itself_does_not_authenticate(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    headers = form_headers(Authorization=f"Bearer {token}")

    answer = send("POST", server.introspection_url, headers, f"token={token}".encode())

    assert refusal(answer) == INVALID_CLIENT


def test_rfc7662_2_1_the_token_is_required(
    server: AuthorizationServerUnderTest, resource_server: Client
) -> None:
    headers = form_headers(Authorization=basic(resource_server))

    assert refusal(send("POST", server.introspection_url, headers, b"")) == INVALID_REQUEST


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "unheard_of"])
def test_rfc7662_2_1_a_hint_does_not_keep_the_token_from_being_found(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str, hint: str
) -> None:
    answer = introspect(server, token, ("token_type_hint", hint), client=resource_server)

    assert answer.json()["active"] is True


def test_rfc7662_4_a_token_in_the_url_is_refused(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    url = f"{server.introspection_url}?token={token}"
    headers = form_headers(Authorization=basic(resource_server))

    assert refusal(send("POST", url, headers, b"")) == INVALID_REQUEST
    assert send("GET", url, headers).status == 405


# §2.2 The answer


def test_rfc7662_2_2_of_an_active_token_the_answer_is_what_it_says(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    claims = read_jwt(token).claims

    said = introspected(server, token, resource_server)

    names = ("scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti")
    assert said["active"] is True
    assert {name: said.get(name) for name in names} == {name: claims[name] for name in names}


def test_rfc7662_2_2_the_token_type_is_that_of_the_token_answer(
    server: AuthorizationServerUnderTest, resource_server: Client
) -> None:
    answer = granted(server)

    said = introspected(server, answer["access_token"], resource_server)

    assert said["token_type"].lower() == answer["token_type"].lower()


def test_rfc7662_2_2_times_are_numbers_of_seconds(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    said = introspected(server, token, resource_server)

    assert (type(said["iat"]), type(said["exp"])) == (int, int)
    assert said["iat"] - 60 < time.time() < said["exp"]


def test_rfc7662_2_2_the_answer_is_json_and_kept_by_nobody(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    answers = [introspect(server, one, client=resource_server) for one in (token, "unknown")]

    assert [answer.media_type for answer in answers] == ["application/json"] * 2
    assert [answer.header("Cache-Control") for answer in answers] == ["no-store"] * 2


def test_rfc7662_2_2_of_a_token_for_another_resource_nothing_else_is_said(
    server: AuthorizationServerUnderTest, resource_server: Client, other_resource: OtherResource
) -> None:
    resource = ("resource", other_resource.identifier)
    token = granted(server, resource, client=other_resource.client)["access_token"]

    assert introspected(server, token, resource_server) == INACTIVE


@pytest.mark.parametrize("text", ["unknown", "a.b.c", "..", "\x00", "é", "=", "a" * 20_000])
def test_rfc7662_2_2_of_what_is_no_token_nothing_else_is_said(
    server: AuthorizationServerUnderTest, resource_server: Client, text: str
) -> None:
    assert introspected(server, text, resource_server) == INACTIVE


def test_rfc7662_2_2_an_id_token_is_no_active_token(
    server: AuthorizationServerUnderTest, resource_server: Client, id_tokens: None
) -> None:
    id_token = granted(server, ("scope", "openid"))["id_token"]

    assert introspected(server, id_token, resource_server) == INACTIVE


def test_rfc7662_2_2_a_client_that_may_not_introspect_learns_nothing_of_a_token(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    answers = [introspect(server, one, client=server.client) for one in (token, "unknown")]

    assert answers[0].body == answers[1].body
    assert refusal(answers[0]) == (403, "unauthorized_client")


# §2.3 Errors


@pytest.mark.parametrize("who", ["wrong secret", "unknown client"])
def test_rfc7662_2_3_invalid_credentials_are_401_with_a_challenge(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str, who: str
) -> None:
    secret = resource_server.client_secret
    right, wrong = Client("nobody", secret), Client(resource_server.client_id, secret[:-1] + "~")

    answer = introspect(server, token, client=wrong if who == "wrong secret" else right)

    assert refusal(answer) == INVALID_CLIENT
    assert challenge_in(answer.header("WWW-Authenticate")).scheme == "basic"


# §4 Security


def test_rfc7662_4_a_changed_signature_is_seen(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str
) -> None:
    assert introspected(server, changed(token), resource_server) == INACTIVE


def test_rfc7662_4_a_revoked_token_is_not_active(
    server: AuthorizationServerUnderTest, resource_server: Client, token: str, revocation: None
) -> None:
    before = introspected(server, token, resource_server)["active"]

    revoke(server, token, client=server.client)

    # As often as several workers need to have been asked, one by one.
    after = [introspected(server, token, resource_server) for _ in range(10)]
    assert (before, after) == (True, [INACTIVE] * 10)


def test_rfc7662_4_a_resource_server_needs_no_right_to_tokens_of_its_own(
    server: AuthorizationServerUnderTest, resource_server: Client
) -> None:
    answer = request_token(server, client=resource_server)

    assert answer.status == 200 or refusal(answer) == (400, "unauthorized_client")
