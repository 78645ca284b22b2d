"""RFC 9700 at the token endpoint: the statements that can be seen from outside."""

from tests.conformance.http_exchange import send, well_known_url
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.token_requests import granted, refusal, request_token
from tests.conformance.under_test import AuthorizationServerUnderTest


def test_rfc9700_2_4_there_is_no_password_grant(server: AuthorizationServerUnderTest) -> None:
    grant = [("grant_type", "password"), ("username", "a"), ("password", "b")]

    answer = request_token(server, client=server.client, grant=grant)

    assert refusal(answer) in {(400, "unsupported_grant_type"), (400, "unauthorized_client")}


def test_rfc9700_2_3_a_token_has_the_scopes_asked_for_and_no_more(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = granted(server, ("scope", server.scopes[0]))

    assert answer.get("scope", server.scopes[0]) == server.scopes[0]
    assert read_jwt(answer["access_token"]).claims["scope"] == server.scopes[0]


def test_rfc9700_2_3_a_token_has_one_audience(server: AuthorizationServerUnderTest) -> None:
    audience = read_jwt(granted(server)["access_token"]).claims["aud"]

    assert audience in (server.resource, [server.resource])


def test_rfc9700_2_6_the_server_publishes_its_metadata(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = send("GET", well_known_url(server.issuer, "oauth-authorization-server"))

    assert answer.status == 200
