"""The public keys of a client: a JWK Set, at its registration or at its `jwks_uri` (RFC 7517 §5).

What a set may hold is judged here, in both places alike: keys for signatures, of a type, curve and
strength that we take, and of each of them the public part alone.

Not judged: whether a key is the client's. Who registers it says so, and TLS for a `jwks_uri`.
Certificates (`x5c`, `x5u`) are not looked at.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

from auth_server.jwk import SHORTEST_RSA_BITS, SIGNATURES, UnsuitableKeyError
from auth_server.models import URI_LENGTH
from auth_server.signed_jwt import base64url_decoded
from shared.settings import checked_url

LONGEST_RSA_BITS: Final = 8192  # a longer one only makes each check slow
LONGEST_EXPONENT_BITS: Final = 64
LONGEST_KID: Final = 256
KEPT_SETS: Final = 1024

_ALGORITHMS: Final = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("Ed25519",),
}
_PUBLIC_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key of a client, and what it is used with: one algorithm (RFC 8725 §3.1).

    An RSA key without an `alg` alone has two: a JWK need not say which the client signs with.
    """

    kid: str | None
    algorithms: tuple[str, ...]
    key: Key = field(repr=False)

    @property
    def name(self) -> str:
        """Its `kid`; where it has none, its thumbprint (RFC 7638)."""
        return self.kid or self.key.thumbprint()

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``signing_input``."""
        return SIGNATURES.get_alg(algorithm).verify(signing_input, signature, self.key)


@dataclass(frozen=True, slots=True)
class ClientJwks:
    """Where a client's keys are: a JWK Set as JSON, or the URI of one (RFC 7591 §2: never both)."""

    jwks: str | None = None
    jwks_uri: str | None = None


def inline_jwks(document: Mapping[str, Any]) -> ClientJwks:
    """Return the keys in ``document``, a JWK Set or one JWK, with what is needed of each alone.

    Raises UnsuitableKeyError as `client_keys` does, and where two keys can't be told apart.
    """
    jwk_set = {"keys": [document]} if "kty" in document else document
    keys = client_keys(jwk_set)
    meant = [(key.kid, algorithm) for key in keys for algorithm in key.algorithms]
    if len(set(meant)) != len(meant):
        raise UnsuitableKeyError("two keys of one algorithm need a `kid` each, and not the same")
    return ClientJwks(jwks=json.dumps({"keys": [_public_jwk(key) for key in keys]}))


def jwks_at(uri: str, *, may_be_plain_http: bool) -> ClientJwks:
    """Return the keys at ``uri``; raise ValueError where it can't be a `jwks_uri`.

    Whether there is anything at it, and at which address that is, is found out at each fetch.
    """
    parts = urlsplit(checked_url(uri))
    if parts.scheme != "https" and not may_be_plain_http:
        raise ValueError("must be https")
    if "@" in parts.netloc or not (uri.isascii() and uri.isprintable()) or len(uri) > URI_LENGTH:
        raise ValueError(f"must be ASCII of {URI_LENGTH} characters at most, and hold no user name")
    return ClientJwks(jwks_uri=uri)


@lru_cache(KEPT_SETS)
def registered_keys(jwks: str) -> tuple[ClientKey, ...]:
    """Return the keys of a set that was stored at a client's registration."""
    return client_keys(json.loads(jwks))


def client_keys(document: Mapping[str, Any]) -> tuple[ClientKey, ...]:
    """Return the keys of a JWK Set that are for us.

    Passed over is a key of another type, curve, algorithm or use. Raises UnsuitableKeyError for
    the whole set where one of its keys is private, symmetric, broken or weak, or none is for us.
    """
    members = document.get("keys")
    if not isinstance(members, list) or not all(isinstance(jwk, dict) for jwk in members):
        raise UnsuitableKeyError("it is no JWK Set: a JSON object whose `keys` are JWKs")
    if any(_PRIVATE_MEMBERS & jwk.keys() for jwk in members):
        raise UnsuitableKeyError("it holds a private or secret key: give the public ones alone")
    keys = tuple(_imported(jwk, found) for jwk in members if (found := _algorithms(jwk)))
    if not keys:
        names = ", ".join(name for of_type in _ALGORITHMS.values() for name in of_type)
        raise UnsuitableKeyError(f"it has no key for a signature with one of {names}")
    return keys


def fully_specified(algorithm: Any) -> Any:
    """Return the name that RFC 9864 gives ``algorithm``: EdDSA is Ed25519, of our curves."""
    return "Ed25519" if algorithm == "EdDSA" else algorithm


def fitting_key(keys: Iterable[ClientKey], kid: str | None, algorithm: str) -> ClientKey | None:
    """Return the one of ``keys`` that a header of ``kid`` and ``algorithm`` means.

    None where none is meant, or more than one: nothing is tried out. A key without a `kid` can
    be meant by any.
    """
    fitting = [key for key in keys if algorithm in key.algorithms]
    if kid is not None:
        named = [key for key in fitting if key.kid == kid]
        fitting = named or [key for key in fitting if key.kid is None]
    return fitting[0] if len(fitting) == 1 else None


def is_kid(value: object) -> bool:
    """Tell whether ``value`` can be the `kid` of a key; any other would break what shows it."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_KID and value.isprintable()


def _algorithms(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what ``jwk`` is used with: its `alg`, or what its type and curve allow.

    Nothing where it is not for us.
    """
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig":
        return ()
    if not isinstance(operations, list) or "verify" not in operations:
        return ()
    of_key = (jwk.get("kty"), jwk.get("crv"))
    possible = next((names for name, names in _ALGORITHMS.items() if name == of_key), ())
    if "alg" not in jwk:
        return possible
    return tuple(name for name in possible if name == fully_specified(jwk["alg"]))


def _imported(jwk: Mapping[str, Any], algorithms: tuple[str, ...]) -> ClientKey:
    """Return the key; only the members that make it up are looked at."""
    kid = jwk.get("kid")
    if not (kid is None or is_kid(kid)):
        raise UnsuitableKeyError(f"a `kid` is printable text of {LONGEST_KID} characters at most")
    try:
        if jwk["kty"] == "RSA":
            _refuse_weak_or_slow(_integer(jwk["n"]), _integer(jwk["e"]))
        key = import_key({name: jwk[name] for name in ("kty", *_PUBLIC_MEMBERS[jwk["kty"]])})
        SIGNATURES.get_alg(algorithms[0]).check_key(key)
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise UnsuitableKeyError("it has a broken key") from error
    return ClientKey(kid, algorithms, key)


def _refuse_weak_or_slow(modulus: int, exponent: int) -> None:
    if not SHORTEST_RSA_BITS <= modulus.bit_length() <= LONGEST_RSA_BITS:
        raise UnsuitableKeyError(
            f"an RSA key has {SHORTEST_RSA_BITS} to {LONGEST_RSA_BITS} bits (RFC 7518 §3.3)"
        )
    if exponent.bit_length() > LONGEST_EXPONENT_BITS:
        raise UnsuitableKeyError(f"an RSA exponent has {LONGEST_EXPONENT_BITS} bits at most")


def _integer(member: object) -> int:
    if not isinstance(member, str):
        raise TypeError("no text")
    return int.from_bytes(base64url_decoded(member))


def _public_jwk(key: ClientKey) -> dict[str, Any]:
    named = {} if key.kid is None else {"kid": key.kid}
    pinned = {"alg": key.algorithms[0]} if len(key.algorithms) == 1 else {}
    members = {name: key.key[name] for name in ("kty", *_PUBLIC_MEMBERS[key.key.key_type])}
    return {**named, "use": "sig", **pinned, **members}
