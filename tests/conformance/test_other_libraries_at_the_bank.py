"""Tokens that several JOSE libraries signed, at the resource server: good ones and forged ones.

The tests' own issuer signs with joserfc, as our servers verify with it. Here two others sign.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from authlib.deprecate import AuthlibDeprecationWarning
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.attacks.attacker import attacker_of
from tests.conformance.bank_requests import INVALID_TOKEN, verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer, SigningKey, base64url

with warnings.catch_warnings():
    # Authlib 2 will leave it out, for joserfc; until then it is another library.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.jose import JsonWebSignature

Sign = Callable[[Mapping[str, Any], bytes, SigningKey], str]


def by_authlib(header: Mapping[str, Any], payload: bytes, key: SigningKey) -> str:
    pem = key.pair.as_pem(private=True)  # type: ignore[union-attr]
    signer: Any = JsonWebSignature  # it has no types
    token: bytes = signer().serialize_compact(header, payload, pem)
    return token.decode()


def by_cryptography(header: Mapping[str, Any], payload: bytes, key: SigningKey) -> str:
    """Sign as RFC 7515 §5.1 says, step by step."""
    signing_input = base64url(json.dumps(header).encode()) + b"." + base64url(payload)
    signature = base64url(signature_of(signing_input, key))
    return (signing_input + b"." + signature).decode()


def signature_of(signing_input: bytes, key: SigningKey) -> bytes:
    private = key.pair.private_key
    if isinstance(private, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(SHA256()), 32)
        scheme = pss if key.algorithm == "PS256" else padding.PKCS1v15()
        return private.sign(signing_input, scheme, SHA256())
    if isinstance(private, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private.sign(signing_input, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    return private.sign(signing_input)


SIGNED_BY = [
    pytest.param(by_authlib, "rsa", id="authlib-RS256"),
    pytest.param(by_authlib, "pss", id="authlib-PS256"),
    pytest.param(by_authlib, "ec", id="authlib-ES256"),
    pytest.param(by_cryptography, "rsa", id="cryptography-RS256"),
    pytest.param(by_cryptography, "pss", id="cryptography-PS256"),
    pytest.param(by_cryptography, "ec", id="cryptography-ES256"),
    pytest.param(by_cryptography, "ed", id="cryptography-Ed25519"),
]


def claims(issuer: OwnIssuer, **changes: Any) -> bytes:
    return json.dumps({**issuer.claims(), **changes}).encode()


@pytest.mark.parametrize(("sign", "kid"), SIGNED_BY)
def test_rfc7515_5_1_a_token_of_another_library_is_taken(
    bank: ResourceServerUnderTest, sign: Sign, kid: str
) -> None:
    issuer = bank.issuer

    token = sign(issuer.header(kid), claims(issuer), issuer.keys[kid])

    assert verdict_on(bank, token) == (200, None)


@pytest.mark.parametrize("changes", [{"iss": "http://evil.example"}, {"aud": "x"}, {"exp": 1}])
@pytest.mark.parametrize(("sign", "kid"), SIGNED_BY)
def test_rfc9068_4_a_wrong_token_of_another_library_is_refused(
    bank: ResourceServerUnderTest, sign: Sign, kid: str, changes: dict[str, Any]
) -> None:
    issuer = bank.issuer

    token = sign(issuer.header(kid), claims(issuer, **changes), issuer.keys[kid])

    assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize("sign", [by_authlib, by_cryptography], ids=["authlib", "cryptography"])
def test_rfc8725_3_8_a_token_that_another_library_forged_is_refused(
    bank: ResourceServerUnderTest, sign: Sign
) -> None:
    with attacker_of(bank.issuer) as forger:
        header = {**bank.issuer.header("ec"), "jwk": forger.keys["ec"].public_jwk()}
        token = sign(header, claims(bank.issuer), forger.keys["ec"])

    assert verdict_on(bank, token) == INVALID_TOKEN
