"""Keys that no issuer should publish, in a JWK Set that is well-formed otherwise."""

import math
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from resource_server.issuer_keys import ROCA_PRIMES, IssuerError, keys_of
from tests.stack.issuer import base64url, signing_keys

P256_FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1
ED25519_FIELD = 2**255 - 19
ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""The y of a point of order 8: from the lists of such points that libraries refuse."""


def jwk(kid: str, /, **changes: Any) -> dict[str, Any]:
    return signing_keys()[kid].public_jwk(**changes)


def octets(number: int, length: int) -> str:
    return base64url(number.to_bytes(length, "big")).decode()


def modulus(kid: str = "rsa") -> int:
    key: Any = signing_keys()[kid].pair.public_key
    number: int = key.public_numbers().n
    return number


def of_the_broken_generator() -> int:
    """Return an odd number of 2048 bits that is a power of 65537 to each of the primes."""
    product = 2 * math.prod(ROCA_PRIMES)
    start = 2**2047 + 2**2046
    return start - start % product + pow(65537, 12345, product)


def ed25519(y: int, sign: int = 0) -> str:
    return base64url((y | sign << 255).to_bytes(32, "little")).decode()


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(jwk("rsa", e="AQ"), id="rsa-exponent-1"),
        pytest.param(jwk("rsa", e="AA"), id="rsa-exponent-0"),
        pytest.param(jwk("rsa", e=""), id="rsa-exponent-empty"),
        pytest.param(jwk("rsa", e=65537), id="rsa-exponent-that-is-a-number"),
        pytest.param(jwk("rsa", e=octets(modulus(), 256)), id="rsa-exponent-as-large-as-the-rest"),
        pytest.param(jwk("rsa", n=octets(modulus() - 1, 256)), id="rsa-even-modulus"),
        pytest.param(jwk("rsa", n=octets(modulus() >> 1024, 128)), id="rsa-1024-bits"),
        pytest.param(jwk("rsa", n=octets(modulus() >> 1, 256)), id="rsa-2047-bits"),
        pytest.param(jwk("rsa", n=octets(0, 256)), id="rsa-zero"),
        pytest.param(jwk("rsa", n=octets(of_the_broken_generator(), 256)), id="rsa-roca"),
        pytest.param(jwk("ec", x=octets(0, 32), y=octets(0, 32)), id="ec-origin"),
        pytest.param(jwk("ec", x=octets(P256_FIELD, 32)), id="ec-x-beyond-the-field"),
        pytest.param(jwk("ec", y=octets(P256_FIELD + 5, 32)), id="ec-y-beyond-the-field"),
        pytest.param(jwk("ec", y=jwk("ec")["x"]), id="ec-off-the-curve"),
        pytest.param(jwk("ec", x=jwk("ec")["y"], y=jwk("ec")["x"]), id="ec-swapped"),
        pytest.param(jwk("ec", x=""), id="ec-empty"),
        pytest.param(jwk("ec", x=octets(1, 66), y=octets(1, 66)), id="ec-of-another-curves-size"),
        pytest.param(jwk("ed", x=octets(1, 31)), id="ed-31-octets"),
        pytest.param(jwk("ed", x=octets(1, 33)), id="ed-33-octets"),
        pytest.param(jwk("ed", x=octets(1, 57)), id="ed-of-ed448s-size"),
        pytest.param(jwk("ed", x=5), id="ed-that-is-a-number"),
        pytest.param(jwk("ed", x=ed25519(1)), id="ed-neutral"),
        pytest.param(jwk("ed", x=ed25519(1, sign=1)), id="ed-neutral-with-a-sign"),
        pytest.param(jwk("ed", x=ed25519(ED25519_FIELD + 1)), id="ed-neutral-beyond-the-field"),
        pytest.param(jwk("ed", x=ed25519(ED25519_FIELD - 1)), id="ed-order-2"),
        pytest.param(jwk("ed", x=ed25519(0)), id="ed-order-4"),
        pytest.param(jwk("ed", x=ed25519(0, sign=1)), id="ed-order-4-with-a-sign"),
        pytest.param(jwk("ed", x=ed25519(ORDER_8_Y)), id="ed-order-8"),
        pytest.param(
            jwk("ed", x=ed25519(ED25519_FIELD - ORDER_8_Y, sign=1)), id="ed-order-8-other"
        ),
    ],
)
def test_a_weak_key_spoils_its_whole_document(members: dict[str, Any]) -> None:
    with pytest.raises(IssuerError, match="broken key"):
        keys_of({"keys": [jwk("pss"), members]})


def test_under_a_key_of_small_order_anybody_can_sign() -> None:
    neutral = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))

    neutral.verify((1).to_bytes(32, "little") + bytes(32), b"whatever the attacker likes")
    with pytest.raises(InvalidSignature):
        neutral.verify(bytes(64), b"whatever the attacker likes")


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_a_good_key_is_none_of_these(kid: str) -> None:
    assert keys_of({"keys": [jwk(kid)]})[kid].algorithm == signing_keys()[kid].algorithm
