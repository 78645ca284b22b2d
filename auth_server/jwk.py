"""JSON Web Keys that sign: made here, or brought by the operator and checked (RFC 7517, 7518)."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, get_args

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from auth_server.settings import SigningAlgorithm

SHORTEST_RSA_BITS: Final = 2048
ALGORITHMS: Final[tuple[SigningAlgorithm, ...]] = get_args(SigningAlgorithm)
# joserfc takes PS256 and Ed25519 only where it is told them.
SIGNATURES: Final = JWSRegistry(algorithms=ALGORITHMS)

_SHA256: Final = SHA256()
_ECDSA: Final = ECDSA(_SHA256)
_PKCS1: Final = PKCS1v15()

PrivateKey = RSAKey | ECKey | OKPKey


class UnsuitableKeyError(Exception):
    """A key that can't sign here; the text says what is wrong with it, and nothing of the key."""


def new_private_key(algorithm: SigningAlgorithm) -> PrivateKey:
    """Return a new private key for ``algorithm``."""
    if algorithm == "ES256":
        return ECKey.generate_key("P-256")
    if algorithm == "Ed25519":
        return OKPKey.generate_key("Ed25519")
    return RSAKey.generate_key(SHORTEST_RSA_BITS)


def imported_private_key(jwk: Mapping[str, Any]) -> tuple[SigningAlgorithm, PrivateKey]:
    """Return the algorithm and the key of a private JWK that somebody brings.

    Without an `alg` an RSA key is for RS256. Raises UnsuitableKeyError.
    It does not judge how random the key is, nor who else knows it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # its size is judged below
            key = JWKRegistry.import_key(dict(jwk))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise UnsuitableKeyError("it is no well-formed JWK") from error
    if isinstance(key, OctKey) or not key.is_private:
        raise UnsuitableKeyError("it is no private key of a pair: RSA, EC and OKP can sign here")
    if isinstance(key, RSAKey) and key.raw_value.key_size < SHORTEST_RSA_BITS:
        raise UnsuitableKeyError(
            f"an RSA key has at least {SHORTEST_RSA_BITS} bits (RFC 7518 §3.3)"
        )
    if jwk.get("use", "sig") != "sig":
        raise UnsuitableKeyError("its `use` is not `sig`")
    algorithm = _algorithm(key)
    _try_out(algorithm, key)
    return algorithm, key


def private_jwk(key: PrivateKey, algorithm: SigningAlgorithm) -> dict[str, Any]:
    """Return the whole key as a JWK, with nothing in it but the key and what it is for."""
    members = {name: key[name] for name in key.value_registry if name in key.keys()}  # noqa: SIM118
    return {"kty": key.key_type, "use": "sig", "alg": algorithm, "kid": key.thumbprint(), **members}


def public_jwk(key: PrivateKey, algorithm: SigningAlgorithm) -> dict[str, Any]:
    """Return what others verify with: no private member; `kid` is the thumbprint of RFC 7638."""
    secret = {name for name, member in key.value_registry.items() if member.private}
    return {
        name: value for name, value in private_jwk(key, algorithm).items() if name not in secret
    }


def signing(algorithm: str, key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return what signs with ``key`` by ``algorithm``.

    For the two that most tokens have, cryptography itself, as RFC 7518 §3.3 and §3.4 have it:
    joserfc judges the key and makes the hash anew each time, for a quarter of what ES256 costs.
    """
    native = key.raw_value
    if algorithm == "RS256" and isinstance(native, RSAPrivateKey):
        return partial(native.sign, padding=_PKCS1, algorithm=_SHA256)
    if algorithm == "ES256" and isinstance(native, EllipticCurvePrivateKey):
        return lambda data: _r_and_s(native.sign(data, _ECDSA))
    return partial(SIGNATURES.get_alg(algorithm).sign, key=key)


def _r_and_s(der: bytes) -> bytes:
    """Return a signature of P-256 as a JWS has it: two numbers of 32 octets (RFC 7518 §3.4)."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(32) + s.to_bytes(32)


def _algorithm(key: PrivateKey) -> SigningAlgorithm:
    """Return the first algorithm that fits the key's type, its curve and its `alg`."""
    for algorithm in ALGORITHMS:
        if _can_sign(algorithm, key):
            return algorithm
    raise UnsuitableKeyError(f"none of {', '.join(ALGORITHMS)} signs with such a key and its `alg`")


def _can_sign(algorithm: SigningAlgorithm, key: PrivateKey) -> bool:
    try:
        SIGNATURES.get_alg(algorithm).check_key(key)
    except JoseError:
        return False
    return True


def _try_out(algorithm: SigningAlgorithm, key: PrivateKey) -> None:
    """Refuse a key whose private part is another pair's, or whose `key_ops` forbid signing."""
    public = JWKRegistry.import_key(public_jwk(key, algorithm))
    try:
        token = jws.serialize_compact({"alg": algorithm}, b"", key, registry=SIGNATURES)
        jws.deserialize_compact(token, public, registry=SIGNATURES)
    except JoseError as error:
        raise UnsuitableKeyError("its private part does not sign for its public part") from error
