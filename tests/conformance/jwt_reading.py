"""Takes a signed JWT apart and verifies it, with nothing that the servers use to make one."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

KEY_TYPES = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
"""The algorithms that these tests can verify, and the type of their keys (RFC 7518 §3.1)."""


@dataclass(frozen=True)
class SignedJwt:
    """A JWS in compact form (RFC 7515 §3.1): what it says, and what is signed."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes


def read_jwt(token: str) -> SignedJwt:
    """Return the parts of ``token``, unverified; fail where it is no JWS."""
    header, claims, signature = token.split(".")
    return SignedJwt(
        json.loads(base64url_decoded(header)),
        json.loads(base64url_decoded(claims)),
        f"{header}.{claims}".encode("ascii"),
        base64url_decoded(signature),
    )


def base64url_decoded(text: str) -> bytes:
    """Return the octets of ``text``; fail where it is no base64url without padding."""
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() == text, "no base64url"
    return decoded


def key_of(jwt: SignedJwt, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one JWK of ``jwks`` that the token's header names."""
    keys = [jwk for jwk in jwks["keys"] if jwk.get("kid") == jwt.header.get("kid")]
    assert len(keys) == 1, f"{len(keys)} keys are named {jwt.header.get('kid')!r}"
    jwk: dict[str, Any] = keys[0]
    return jwk


def verify(jwt: SignedJwt, jwk: Mapping[str, Any]) -> None:
    """Return where the signature is right; raise `cryptography`'s InvalidSignature where not."""
    algorithm = jwt.header["alg"]
    assert KEY_TYPES.get(algorithm) == jwk["kty"], f"{algorithm} with a key of type {jwk['kty']}"
    if jwk["kty"] == "RSA":
        scheme = (
            padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(SHA256()), 32)
        )
        rsa_key = rsa.RSAPublicNumbers(_integer(jwk, "e"), _integer(jwk, "n")).public_key()
        rsa_key.verify(jwt.signature, jwt.signing_input, scheme, SHA256())
    elif jwk["kty"] == "EC":
        r, s = int.from_bytes(jwt.signature[:32], "big"), int.from_bytes(jwt.signature[32:], "big")
        curve_point = ec.EllipticCurvePublicNumbers(
            _integer(jwk, "x"), _integer(jwk, "y"), ec.SECP256R1()
        )
        curve_point.public_key().verify(
            encode_dss_signature(r, s), jwt.signing_input, ec.ECDSA(SHA256())
        )
    else:
        ed_key = ed25519.Ed25519PublicKey.from_public_bytes(base64url_decoded(jwk["x"]))
        ed_key.verify(jwt.signature, jwt.signing_input)


def _integer(jwk: Mapping[str, Any], member: str) -> int:
    return int.from_bytes(base64url_decoded(jwk[member]), "big")
