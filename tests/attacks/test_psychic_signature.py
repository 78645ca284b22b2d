import hashlib
from typing import Final

from tests.attacks.careless_server import Claims, careless_server, signed_by
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.jwt_reading import base64url_decoded, key_of, read_jwt
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer

# P-256: its field, its order and its base point (FIPS 186-5, SP 800-186 §3.2.1.3).
P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int]


class TestPsychicSignature:
    """A signature of nothing but zeros, which verifies whatever was signed, with whatever key.

    The attacker has: nothing. As with a blank card at which a believer sees writing.

    The attacker does: signs with 64 zero octets: r = 0 and s = 0.

    It works where: ECDSA is computed without its first step, which says that r and s lie between 1
    and n - 1. Without it, every product with s is zero, the sum is the point at infinity, and its
    missing coordinate, read as zero, equals r. Java did that from version 15 to 18
    (CVE-2022-21449).

    Who stops it: the library that verifies (`cryptography`, by OpenSSL) takes that first step
    (FIPS 186-5 §6.4.2). What we do is not to compute signatures ourselves (RFC 8725 §3.3).
    """

    stopped_by = Line("resource_server/token_validation.py", "the signature is not good")

    def forged(self, issuer: OwnIssuer) -> str:
        return issuer.token("ec", signature=bytes(64))

    def test_a_server_whose_ecdsa_lacks_the_range_check_sees_a_signature(
        self, issuer: OwnIssuer
    ) -> None:
        def check(token: str) -> Claims:
            jwt = read_jwt(token)
            jwk = key_of(jwt, issuer.jwks())
            public = (number(base64url_decoded(jwk["x"])), number(base64url_decoded(jwk["y"])))
            assert verifies(public, jwt.signing_input, jwt.signature)
            return jwt.claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.forged(issuer)) == (200, None)

    def test_a_server_with_a_whole_ecdsa_does_not(self, issuer: OwnIssuer) -> None:
        with careless_server(issuer, lambda token: signed_by(issuer, token).claims) as whole:
            assert verdict_on(whole, self.forged(issuer)) == (401, "invalid_token")

    def test_the_bank_sees_no_signature(self, bank: ResourceServerUnderTest) -> None:
        assert refusal_of(bank, self.forged(bank.issuer)) == "the signature is not good"


def verifies(public: Point, message: bytes, signature: bytes) -> bool:
    """Verify ECDSA as FIPS 186-5 §6.4.2 has it, from its second step on."""
    r, s = number(signature[:32]), number(signature[32:])
    w = pow(s, N - 2, N)  # Fermat's inverse, which finds that the inverse of 0 is 0
    u1 = number(hashlib.sha256(message).digest()) * w % N
    u2 = r * w % N
    point = added(multiplied(G, u1), multiplied(public, u2))
    return (0 if point is None else point[0] % N) == r


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def multiplied(point: Point, factor: int) -> Point | None:
    product, doubled = None, point
    for bit in range(256):
        if factor >> bit & 1:
            product = added(product, doubled)
        doubled = added(doubled, doubled) or doubled
    return product


def added(one: Point | None, other: Point | None) -> Point | None:
    """Return the sum of two points of P-256; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % P == 0:
        return None
    if one == other:
        slope = 3 * (one[0] ** 2 - 1) * pow(2 * one[1], -1, P)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, P)
    x = (slope**2 - one[0] - other[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P
