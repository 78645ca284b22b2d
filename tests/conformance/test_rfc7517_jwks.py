"""RFC 7517 and 7518: the authorization server's published keys."""

import re
from typing import Any

import pytest

from tests.conformance.http_exchange import send
from tests.conformance.jwt_reading import base64url_decoded, read_jwt
from tests.conformance.token_requests import granted
from tests.conformance.under_test import AuthorizationServerUnderTest

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
PUBLIC_MEMBERS = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}


def test_rfc7517_5_the_set_is_an_object_with_keys(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = send("GET", server.jwks_url)

    assert answer.status == 200
    assert answer.media_type in {"application/json", "application/jwk-set+json"}
    assert {type(jwk) for jwk in answer.json()["keys"]} == {dict}


def test_rfc7517_4_no_member_of_a_key_stands_twice(server: AuthorizationServerUnderTest) -> None:
    answer = send("GET", server.jwks_url)

    assert answer.json() == answer.members()  # `json` fails where one does


def test_rfc7517_9_2_no_key_shows_a_private_member(jwks: dict[str, Any]) -> None:
    assert [
        PRIVATE_MEMBERS & jwk.keys() for jwk in jwks["keys"] if PRIVATE_MEMBERS & jwk.keys()
    ] == []


def test_rfc7517_9_2_no_key_is_a_symmetric_one(jwks: dict[str, Any]) -> None:
    assert {jwk["kty"] for jwk in jwks["keys"]} <= PUBLIC_MEMBERS.keys()


def test_rfc7518_6_every_key_has_the_members_of_its_type(jwks: dict[str, Any]) -> None:
    incomplete = [jwk for jwk in jwks["keys"] if not PUBLIC_MEMBERS[jwk["kty"]] <= jwk.keys()]

    assert incomplete == []


def test_rfc7517_4_5_keys_have_distinct_ids(jwks: dict[str, Any]) -> None:
    kids = [jwk["kid"] for jwk in jwks["keys"]]

    assert len(set(kids)) == len(kids)


def test_rfc7517_4_2_every_key_is_for_signatures(jwks: dict[str, Any]) -> None:
    assert {jwk.get("use", "sig") for jwk in jwks["keys"]} == {"sig"}


def test_rfc7518_3_3_an_rsa_key_has_2048_bits_or_more(jwks: dict[str, Any]) -> None:
    moduli = [base64url_decoded(jwk["n"]) for jwk in jwks["keys"] if jwk["kty"] == "RSA"]

    assert [
        modulus for modulus in moduli if int.from_bytes(modulus, "big").bit_length() < 2048
    ] == []


def test_rfc7518_6_3_1_1_a_modulus_has_no_zero_octet_in_front(jwks: dict[str, Any]) -> None:
    moduli = [base64url_decoded(jwk["n"]) for jwk in jwks["keys"] if jwk["kty"] == "RSA"]

    assert [modulus for modulus in moduli if modulus.startswith(b"\x00")] == []


def test_rfc8725_3_1_every_key_is_for_one_algorithm(jwks: dict[str, Any]) -> None:
    algorithms = [jwk.get("alg") for jwk in jwks["keys"]]

    assert [name for name in algorithms if not isinstance(name, str)] == []


def test_rfc7515_4_1_4_a_token_names_its_key(
    server: AuthorizationServerUnderTest, jwks: dict[str, Any]
) -> None:
    kid = read_jwt(granted(server)["access_token"]).header["kid"]

    assert kid in {jwk["kid"] for jwk in jwks["keys"]}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_rfc9110_15_5_6_the_keys_are_got_by_get_alone(
    server: AuthorizationServerUnderTest, method: str
) -> None:
    answer = send(method, server.jwks_url, body=b"")

    assert answer.status == 405
    assert "GET" in (answer.header("Allow") or "")


def test_oidc_core_10_1_1_the_answer_says_how_long_the_keys_may_be_kept(
    server: AuthorizationServerUnderTest,
) -> None:
    cache_control = send("GET", server.jwks_url).header("Cache-Control") or ""

    assert re.search(r"max-age=\d+", cache_control) is not None
