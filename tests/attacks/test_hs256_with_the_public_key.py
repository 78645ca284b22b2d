import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from tests.attacks.careless_server import Claims, careless_server, signed_by
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


def public_key_as(form: str, issuer: OwnIssuer) -> bytes:
    """Return the RSA key as an API may keep it: in each of these forms everybody can have it."""
    key = issuer.keys["rsa"]
    if form == "jwk":
        return json.dumps(key.public_jwk()).encode()
    if form == "pem":
        return key.public_pem()
    loaded = load_pem_public_key(key.public_pem())
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
class TestHs256WithThePublicKey:
    """A public key, used as a secret.

    The attacker has: the issuer's public RSA key. Everybody has it: it stands in the JWK Set.

    The attacker does: writes `alg: HS256` into the header, and computes the HMAC of the token with
    the octets of that public key as its secret.

    It works where: one function verifies, with a key and whatever algorithm the token names. For
    RS256 it takes the octets for a public key, for HS256 for a shared secret.

    Who stops it: the list of algorithms has no HMAC in it. Were one there, the second line would
    hold: each key has one algorithm, which the token does not choose (RFC 8725 §2.1, §3.1).
    """

    stopped_by = Line("resource_server/token_validation.py", "algorithm not in algorithms")

    def test_a_server_with_one_key_for_all_algorithms_takes_the_forgery(
        self, issuer: OwnIssuer, form: str
    ) -> None:
        key = public_key_as(form, issuer)

        def check(token: str) -> Claims:
            jwt = read_jwt(token)
            if jwt.header["alg"] != "HS256":
                return signed_by(issuer, token).claims
            mac = hmac.new(key, jwt.signing_input, hashlib.sha256).digest()
            assert hmac.compare_digest(mac, jwt.signature)
            return jwt.claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, issuer.token_with_hs256(key)) == (200, None)

    def test_the_bank_refuses_the_algorithm(self, bank: ResourceServerUnderTest, form: str) -> None:
        forged = bank.issuer.token_with_hs256(public_key_as(form, bank.issuer))

        assert "algorithm that is not taken" in refusal_of(bank, forged)
