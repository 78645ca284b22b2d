"""Client authentication by a signed assertion: private_key_jwt (RFC 7523 §2.2, OIDC Core §9).

The private key stays in the vault and here; what goes over the network is a JWT that proves it,
for one server and one minute. Needs joserfc.
"""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from joserfc.jws import JWSRegistry

from client_service.token_messages import Authentication, ClientCredentials, Proof, as_it_is

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME_SECONDS: Final = 60

_ALGORITHMS: Final = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("Ed25519",),
}
"""What a key of each type and curve signs with; the first where its `alg` does not say."""

# The defaults of joserfc leave PS256 and Ed25519 out.
_SIGNATURES: Final = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "Ed25519"])


def private_key_jwt(issuer: str, now: Callable[[], float] = time.time) -> Authentication:
    """Return the method for the authorization server ``issuer``; ``now`` is the time of day.

    Each proof is a new assertion: a server takes its `jti` once (RFC 7523 §3), a retry's too.
    Raises ValueError where the credentials hold no key that signs.
    """

    def prove(credentials: ClientCredentials) -> Proof:
        algorithm, key = signing_key(credentials.private_jwk)
        header = {"typ": "client-authentication+jwt", "alg": algorithm}
        if key.kid:
            header["kid"] = key.kid
        claims = _claims(credentials.client_id, issuer, int(now()))
        assertion = jwt.encode(header, claims, key, registry=_SIGNATURES)
        # RFC 7521 §4.2: client_id is unnecessary here, the assertion says it.
        form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        return Proof(form, as_it_is)

    return prove


def signing_key(private_jwk: str) -> tuple[str, Key]:
    """Return the algorithm and the key of a private JWK (RFC 7517), given as JSON.

    Raises ValueError where it is none, or of a type that we do not sign with. The error does not
    repeat the key.
    """
    try:
        members = json.loads(private_jwk)
        kind = (members["kty"], members.get("crv"))
        algorithm = members.get("alg", _ALGORITHMS[kind][0])
        algorithm = "Ed25519" if algorithm == "EdDSA" else algorithm  # its name before RFC 9864
        key = import_key({**members, "alg": algorithm})
        key.check_use("sig")
        key.check_key_op("sign")
    except (JoseError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise ValueError("it is no JWK of type RSA, EC P-256 or OKP Ed25519 that signs") from None
    if algorithm not in _ALGORITHMS[kind] or not key.is_private:
        raise ValueError("it is no private key, or its `alg` is another than we sign with")
    return algorithm, key


def _claims(client_id: str, issuer: str, issued_at: int) -> dict[str, Any]:
    """Return the claims (RFC 7523 §3).

    `aud` is the issuer and nothing else, as rfc7523bis demands: an assertion for the URL of a
    token endpoint can be drawn out of a client by another server that gives that URL for its own
    (CVE-2025-27370).
    """
    return {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": issued_at,
        "exp": issued_at + LIFETIME_SECONDS,
        "jti": uuid.uuid4().hex,
    }
