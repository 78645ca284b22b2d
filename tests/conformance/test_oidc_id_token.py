"""OpenID Connect Core 1.0 §2: the id_token, which this grant returns as an extension."""

import hashlib
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.conformance.jwt_reading import SignedJwt, key_of, read_jwt, verify
from tests.conformance.token_requests import granted, refusal, request_token, scope_asked
from tests.conformance.under_test import AuthorizationServerUnderTest, Client

pytestmark = pytest.mark.usefixtures("id_tokens")


def id_token(server: AuthorizationServerUnderTest) -> SignedJwt:
    return read_jwt(granted(server, ("scope", "openid"))["id_token"])


def test_oidc_core_3_1_2_1_without_openid_there_is_no_id_token(
    server: AuthorizationServerUnderTest,
) -> None:
    assert "id_token" not in granted(server, scope_asked(server))


def test_oidc_core_2_the_signature_is_by_a_published_key(
    server: AuthorizationServerUnderTest, jwks: dict[str, Any]
) -> None:
    jwt = id_token(server)

    verify(jwt, key_of(jwt, jwks))  # raises where it is wrong


def test_oidc_core_15_1_the_algorithm_is_rs256(server: AuthorizationServerUnderTest) -> None:
    assert id_token(server).header["alg"] == "RS256"


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
def test_oidc_core_2_the_required_claims_are_there(
    server: AuthorizationServerUnderTest, claim: str
) -> None:
    assert id_token(server).claims.get(claim) not in {None, "", 0}


def test_oidc_core_2_iss_is_the_issuer(server: AuthorizationServerUnderTest) -> None:
    assert id_token(server).claims["iss"] == server.issuer


def test_oidc_core_2_the_audience_is_the_client(server: AuthorizationServerUnderTest) -> None:
    audience = id_token(server).claims["aud"]

    assert audience in (server.client.client_id, [server.client.client_id])


def test_oidc_core_2_the_subject_is_ascii_and_not_too_long(
    server: AuthorizationServerUnderTest,
) -> None:
    subject = id_token(server).claims["sub"]

    assert (subject.isascii(), len(subject) <= 255) == (True, True)


def test_oidc_core_2_the_times_are_numbers_and_now_lies_between_them(
    server: AuthorizationServerUnderTest,
) -> None:
    claims = id_token(server).claims

    assert {type(claims["iat"]), type(claims["exp"])} <= {int, float}
    assert claims["iat"] - 5 <= time.time() < claims["exp"]


def test_oidc_core_2_no_header_points_to_a_key_elsewhere(
    server: AuthorizationServerUnderTest,
) -> None:
    assert {"x5u", "x5c", "jku", "jwk"} & id_token(server).header.keys() == set()


def test_oidc_core_3_1_3_6_at_hash_is_the_left_half_of_the_hash_of_the_access_token(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = granted(server, ("scope", "openid"))
    digest = hashlib.sha256(answer["access_token"].encode("ascii")).digest()

    expected = urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
    assert read_jwt(answer["id_token"]).claims.get("at_hash", expected) == expected


def test_rfc8725_3_12_an_id_token_cannot_be_taken_for_an_access_token(
    server: AuthorizationServerUnderTest,
) -> None:
    jwt = id_token(server)

    assert jwt.header.get("typ", "JWT").upper() == "JWT"
    assert server.resource not in (jwt.claims["aud"], *jwt.claims["aud"])
    assert "scope" not in jwt.claims


def test_rfc6749_5_2_openid_asked_for_by_a_client_that_may_not_is_invalid_scope(
    server: AuthorizationServerUnderTest, client_without_id_token: Client
) -> None:
    answer = request_token(server, ("scope", "openid"), client=client_without_id_token)

    assert refusal(answer) == (400, "invalid_scope")


def test_oidc_core_3_1_2_1_a_client_without_id_token_still_gets_its_access_token(
    server: AuthorizationServerUnderTest, client_without_id_token: Client
) -> None:
    answer = granted(server, client=client_without_id_token)

    assert ("id_token" in answer, read_jwt(answer["access_token"]).header["typ"]) == (
        False,
        "at+jwt",
    )
