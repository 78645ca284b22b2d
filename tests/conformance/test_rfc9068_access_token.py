"""RFC 9068 §2, §3 and §5: what the authorization server puts into an access token."""

import time
from typing import Any

import pytest

from tests.conformance.http_exchange import send
from tests.conformance.jwt_reading import KEY_TYPES, key_of, read_jwt, verify
from tests.conformance.token_requests import granted, refusal, request_token, scope_asked
from tests.conformance.under_test import AuthorizationServerUnderTest, Client, OtherResource

INVALID_SCOPE = (400, "invalid_scope")


def test_rfc9068_2_1_the_signature_is_by_a_published_key(
    server: AuthorizationServerUnderTest, jwks: dict[str, Any]
) -> None:
    jwt = read_jwt(granted(server)["access_token"])

    verify(jwt, key_of(jwt, jwks))  # raises where it is wrong


def test_rfc9068_2_1_the_algorithm_is_an_asymmetric_one(
    server: AuthorizationServerUnderTest, jwks: dict[str, Any]
) -> None:
    jwt = read_jwt(granted(server)["access_token"])

    assert jwt.header["alg"] in KEY_TYPES
    assert jwt.header["alg"] == key_of(jwt, jwks).get("alg", jwt.header["alg"])


def test_rfc9068_2_1_rs256_is_supported(jwks: dict[str, Any]) -> None:
    keys = [
        jwk for jwk in jwks["keys"] if (jwk["kty"], jwk.get("alg", "RS256")) == ("RSA", "RS256")
    ]

    assert keys != []


def test_rfc9068_2_1_the_type_is_at_jwt(server: AuthorizationServerUnderTest) -> None:
    header = read_jwt(granted(server)["access_token"]).header

    assert header["typ"].lower().removeprefix("application/") == "at+jwt"


@pytest.mark.parametrize("claim", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_rfc9068_2_2_the_required_claims_are_there(
    server: AuthorizationServerUnderTest, claim: str
) -> None:
    assert read_jwt(granted(server)["access_token"]).claims.get(claim) not in {None, "", 0}


def test_rfc9068_2_2_iss_is_the_issuer(server: AuthorizationServerUnderTest) -> None:
    assert read_jwt(granted(server)["access_token"]).claims["iss"] == server.issuer


def test_rfc9068_2_2_client_id_and_sub_are_the_client(
    server: AuthorizationServerUnderTest,
) -> None:
    claims = read_jwt(granted(server)["access_token"]).claims

    assert (claims["client_id"], claims["sub"]) == (server.client.client_id,) * 2


def test_rfc9068_2_2_two_tokens_have_two_ids(server: AuthorizationServerUnderTest) -> None:
    first, second = (read_jwt(granted(server)["access_token"]).claims["jti"] for _ in range(2))

    assert first != second


def test_rfc9068_2_2_the_times_are_numbers_and_now_lies_between_them(
    server: AuthorizationServerUnderTest,
) -> None:
    claims = read_jwt(granted(server)["access_token"]).claims

    assert {type(claims["iat"]), type(claims["exp"])} <= {int, float}
    assert claims["iat"] - 5 <= time.time() < claims["exp"]


def test_rfc6749_5_1_expires_in_is_the_life_of_the_token(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = granted(server)
    claims = read_jwt(answer["access_token"]).claims

    assert abs(claims["exp"] - claims["iat"] - answer["expires_in"]) <= 1


def test_rfc9068_2_2_3_the_scope_claim_holds_what_was_asked_for(
    server: AuthorizationServerUnderTest,
) -> None:
    scope = read_jwt(granted(server, scope_asked(server))["access_token"]).claims["scope"]

    assert sorted(scope.split(" ")) == sorted(server.scopes)


def test_rfc9068_2_2_3_every_scope_means_something_to_the_audience(
    server: AuthorizationServerUnderTest, id_tokens: None
) -> None:
    answer = granted(server, ("scope", " ".join(["openid", *server.scopes])))

    scope = read_jwt(answer["access_token"]).claims["scope"]
    assert sorted(scope.split(" ")) == sorted(server.scopes)


def test_rfc9068_3_without_a_resource_the_audience_is_the_default_one(
    server: AuthorizationServerUnderTest,
) -> None:
    audience = read_jwt(granted(server)["access_token"]).claims["aud"]

    assert audience in (server.resource, [server.resource])


def test_rfc9068_3_a_scope_of_another_resource_than_the_one_asked_for_is_invalid_scope(
    server: AuthorizationServerUnderTest, other_resource: OtherResource
) -> None:
    parameters = [("resource", other_resource.identifier), scope_asked(server)]

    answer = request_token(server, *parameters, client=other_resource.client)

    assert refusal(answer) == INVALID_SCOPE


def test_rfc9068_3_scopes_of_different_resources_are_invalid_scope(
    server: AuthorizationServerUnderTest, other_resource: OtherResource
) -> None:
    scope = f"{server.scopes[0]} {other_resource.scopes[0]}"

    answer = request_token(server, ("scope", scope), client=other_resource.client)

    assert refusal(answer) == INVALID_SCOPE


def test_rfc9068_5_tokens_for_two_resources_have_two_audiences(
    server: AuthorizationServerUnderTest, other_resource: OtherResource
) -> None:
    client = other_resource.client
    resources = [server.resource, other_resource.identifier]
    tokens = [
        granted(server, ("resource", resource), client=client)["access_token"]
        for resource in resources
    ]

    first, second = (read_jwt(token).claims["aud"] for token in tokens)
    assert first != second


def test_rfc9068_3_the_audience_is_never_the_client(
    server: AuthorizationServerUnderTest, narrow_client: Client
) -> None:
    audience = read_jwt(granted(server, client=narrow_client)["access_token"]).claims["aud"]

    assert narrow_client.client_id not in ([audience] if isinstance(audience, str) else audience)


def test_rfc8725_3_11_no_header_points_to_a_key_elsewhere(
    server: AuthorizationServerUnderTest,
) -> None:
    header = read_jwt(granted(server)["access_token"]).header

    assert {"jku", "jwk", "x5u", "crit"} & header.keys() == set()


def test_rfc9068_4_the_keys_are_found_through_the_issuer_alone(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = send("GET", server.jwks_url)

    assert (server.metadata["issuer"], answer.status) == (server.issuer, 200)
