"""RFC 8725 (and RFC 7515, on which it builds) at the resource server: forged and confused JWTs."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conformance.bank_requests import INVALID_TOKEN, named, read_with, verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import ABSENT, OwnIssuer, SigningKey


def octets(document: dict[str, Any], encoding: str = "utf-8") -> bytes:
    return json.dumps(document, ensure_ascii=False).encode(encoding)


@contextmanager
def impostor(bank: ResourceServerUnderTest) -> Iterator[OwnIssuer]:
    """An issuer that says in `iss` that it is the one the bank trusts."""
    with OwnIssuer(audience=bank.issuer.audience) as issuer:
        issuer.url = bank.issuer.url
        yield issuer


# §3.1 Algorithms


@pytest.mark.parametrize("form", ["pem", "jwk", "modulus", "empty"])
def test_rfc8725_3_1_a_mac_under_the_public_key_is_refused(
    bank: ResourceServerUnderTest, form: str
) -> None:
    key = bank.issuer.keys["rsa"]
    secrets = {
        "pem": key.public_pem(),
        "jwk": octets(key.public_jwk()),
        "modulus": base64.urlsafe_b64decode(key.public_jwk()["n"] + "=="),
        "empty": b"",
    }

    assert verdict_on(bank, bank.issuer.token_with_hs256(secrets[form])) == INVALID_TOKEN


@pytest.mark.parametrize(
    "algorithm",
    ["RS384", "RS512", "PS512", "ES384", "HS512", "RS1", "rs256", "", None, 256, ["RS256"], ABSENT],
    ids=named,
)
def test_rfc8725_3_1_an_algorithm_that_is_not_on_the_list_is_refused(
    bank: ResourceServerUnderTest, algorithm: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(header={"alg": algorithm})) == INVALID_TOKEN


@pytest.mark.parametrize(("kid", "algorithm"), [("rsa", "PS256"), ("pss", "RS256")])
def test_rfc8725_3_1_a_key_is_used_with_its_one_algorithm(
    bank: ResourceServerUnderTest, kid: str, algorithm: str
) -> None:
    pair = bank.issuer.keys[kid].pair
    with impostor(bank) as confused:
        confused.keys["confused"] = SigningKey(kid, algorithm, pair)
        token = confused.token("confused", header={"kid": kid})

    assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "Ed25519", "EdDSA"])
def test_rfc8725_3_1_the_header_does_not_choose_the_algorithm_of_a_key(
    bank: ResourceServerUnderTest, algorithm: str
) -> None:
    kids = [kid for kid, key in bank.issuer.keys.items() if key.algorithm != algorithm]
    tokens = [bank.issuer.token(kid, header={"alg": algorithm}) for kid in kids]

    assert {verdict_on(bank, token) for token in tokens} == {INVALID_TOKEN}


# §3.3 Cryptographic operations


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
@pytest.mark.parametrize(
    "signature",
    [b"", b"\x00", b"\x00" * 64, b"\x00" * 256, b"\xff" * 64, b"\xff" * 256, b"\x00" * 2000],
    ids=["empty", "short", "zeros 64", "zeros 256", "ones 64", "ones 256", "long"],
)
def test_rfc8725_3_3_a_signature_that_does_not_verify_is_refused(
    bank: ResourceServerUnderTest, kid: str, signature: bytes
) -> None:
    assert verdict_on(bank, bank.issuer.token(kid, signature=signature)) == INVALID_TOKEN


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_rfc8725_3_3_one_bit_of_the_signature_is_enough(
    bank: ResourceServerUnderTest, kid: str
) -> None:
    text = bank.issuer.token(kid).rpartition(".")[2]
    signature = bytearray(base64.urlsafe_b64decode(text + "=="))
    signature[len(signature) // 2] ^= 1

    assert verdict_on(bank, bank.issuer.token(kid, signature=bytes(signature))) == INVALID_TOKEN


def test_rfc7515_2_base64url_has_no_padding_and_no_other_characters(
    bank: ResourceServerUnderTest,
) -> None:
    token = bank.issuer.token("rsa")
    header, claims, signature = token.split(".")
    tokens = [
        f"{header}.{claims}.{signature}==",
        f"{header}==.{claims}.{signature}",
        f"{header}.{claims}.{signature}~",
        f"{header}.{claims}~.{signature}",
        f"{token}.",
        f".{token}",
    ]

    verdicts = {verdict_on(bank, forged) for forged in tokens}
    assert verdicts <= {INVALID_TOKEN, (400, "invalid_request")}


# §3.7 UTF-8


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("part", ["header", "claims"])
def test_rfc8725_3_7_json_that_is_no_utf_8_is_refused(
    bank: ResourceServerUnderTest, encoding: str, part: str
) -> None:
    header = {**bank.issuer.header(), "note": "é"}
    claims = {**bank.issuer.claims(), "note": "é"}
    encodings = {"header": "utf-8", "claims": "utf-8", part: encoding}

    token = bank.issuer.signed(
        octets(header, encodings["header"]), octets(claims, encodings["claims"])
    )

    assert verdict_on(bank, token) == INVALID_TOKEN


# §3.8, §3.10 Keys


def test_rfc8725_3_8_a_key_that_the_issuer_does_not_publish_is_refused(
    bank: ResourceServerUnderTest,
) -> None:
    with impostor(bank) as another:
        another.add_key("unpublished")
        token = another.token("unpublished")

    assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize("claim", ["jku", "x5u"])
def test_rfc8725_3_10_an_address_in_the_header_is_not_asked(
    bank: ResourceServerUnderTest, claim: str
) -> None:
    with OwnIssuer(audience=bank.issuer.audience) as forger:
        forger.add_key("forged")
        changes = {claim: forger.url + "/jwks"}
        token = forger.token("forged", header=changes, claims={"iss": bank.issuer.url})

        assert verdict_on(bank, token) == INVALID_TOKEN
        assert dict(forger.fetches) == {}


def test_rfc8725_3_10_a_key_in_the_header_is_not_used(bank: ResourceServerUnderTest) -> None:
    with impostor(bank) as forger:
        forger.add_key("forged")
        jwk = forger.keys["forged"].public_jwk()
        headers = [{"jwk": jwk}, {"jwk": jwk, "kid": ABSENT}, {"x5c": ["AAAA"]}]
        tokens = [forger.token("forged", header=header) for header in headers]

    assert {verdict_on(bank, token) for token in tokens} == {INVALID_TOKEN}


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "rsa\x00",
        "RSA",
        "",
        "\ud800",
        "http://127.0.0.1:1/jwks",
        "k" * 2000,
        None,
        0,
        True,
        ["rsa"],
        {"rsa": 1},
    ],
    ids=[
        "path",
        "file",
        "sql",
        "NUL",
        "other case",
        "empty",
        "lone surrogate",
        "address",
        "long",
        "null",
        "number",
        "true",
        "list",
        "object",
    ],
)
def test_rfc8725_3_10_a_kid_is_compared_and_nothing_else(
    bank: ResourceServerUnderTest, kid: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(header={"kid": kid})) == INVALID_TOKEN


# §3.11, §3.12 Kinds of JWT


@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        "client-authentication+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
    ],
)
def test_rfc8725_3_12_another_kind_of_jwt_of_the_same_issuer_is_refused(
    bank: ResourceServerUnderTest, typ: str
) -> None:
    assert verdict_on(bank, bank.issuer.token(header={"typ": typ})) == INVALID_TOKEN


# RFC 7515


@pytest.mark.parametrize(
    "crit",
    [["b64"], ["exp"], ["unknown"], [], "b64", None, 1, {"b64": 1}, [1], [["b64"]]],
    ids=named,
)
def test_rfc7515_4_1_11_a_critical_extension_that_is_not_understood_is_refused(
    bank: ResourceServerUnderTest, crit: Any
) -> None:
    token = bank.issuer.token(header={"crit": crit, "b64": False, "unknown": 1})

    assert verdict_on(bank, token) == INVALID_TOKEN


def test_rfc7515_4_a_header_that_is_not_understood_is_ignored(
    bank: ResourceServerUnderTest,
) -> None:
    assert read_with(bank, bank.issuer.token(header={"foo": "bar"})).status == 200


@pytest.mark.parametrize(
    "header",
    [b"", b"null", b"[]", b'"at+jwt"', b"1", b"{", b'{"typ":"at+jwt"', b"{}", b"\xff", b"\x00"],
    ids=named,
)
def test_rfc7515_5_2_a_header_that_is_no_json_object_is_refused(
    bank: ResourceServerUnderTest, header: bytes
) -> None:
    token = bank.issuer.signed(header, octets(bank.issuer.claims()))

    assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize(
    "claims", [b"", b"null", b"[]", b'"x"', b"1", b"{", b"{}", b"\xff", b"\x00"], ids=named
)
def test_rfc7519_7_2_claims_that_are_no_json_object_are_refused(
    bank: ResourceServerUnderTest, claims: bytes
) -> None:
    token = bank.issuer.signed(octets(bank.issuer.header()), claims)

    assert verdict_on(bank, token) == INVALID_TOKEN


def test_rfc7519_4_a_claim_that_stands_twice_is_refused_or_the_last_one_counts(
    bank: ResourceServerUnderTest,
) -> None:
    twice = octets(bank.issuer.claims())[:-1] + b', "scope": "Other"}'

    token = bank.issuer.signed(octets(bank.issuer.header()), twice)

    assert verdict_on(bank, token) in {INVALID_TOKEN, (403, "insufficient_scope")}
