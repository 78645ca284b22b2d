"""A client that authenticates by `private_key_jwt`, and signs what a right one never would.

client = SigningClient("signer", audience=issuer)
good = client.assertion()
stale = client.assertion(claims={"exp": 1})
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.jws import JWSRegistry

from tests.stack.issuer import SigningKey, base64url, changed, signing_keys

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME_SECONDS: Final = 60

_SIGNERS = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "Ed25519"])


@dataclass(frozen=True)
class SigningClient:
    """A client and its key pairs by `kid`; ``audience`` is the issuer that it authenticates to."""

    client_id: str
    audience: str
    keys: Mapping[str, SigningKey] = field(default_factory=signing_keys, repr=False)
    now: Callable[[], float] = time.time

    def jwks(self, *kids: str) -> dict[str, Any]:
        """Return the JWK Set of the public keys ``kids``; of all where none is named."""
        return {"keys": [self.keys[kid].public_jwk() for kid in kids or self.keys]}

    def claims(self) -> dict[str, Any]:
        """Return the claims of a good assertion (RFC 7523 §3, rfc7523bis)."""
        now = int(self.now())
        return {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": uuid.uuid4().hex,
        }

    def assertion(
        self,
        kid: str | None = None,
        *,
        header: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
        signature: bytes | None = None,
    ) -> str:
        """Return an assertion signed with the key ``kid``, else the first: good but for changes.

        ``header`` and ``claims`` replace single members (`issuer.ABSENT` leaves one out);
        ``signature`` replaces the signature.
        """
        kid = kid or next(iter(self.keys))
        good = {"typ": "client-authentication+jwt", "alg": self.keys[kid].algorithm, "kid": kid}
        return self.signed(
            json.dumps(changed(good, header)).encode(),
            json.dumps(changed(self.claims(), claims)).encode(),
            kid,
            signature,
        )

    def signed(self, header: bytes, claims: bytes, kid: str, signature: bytes | None = None) -> str:
        """Return a JWS of exactly these octets."""
        signing_input = base64url(header) + b"." + base64url(claims)
        if signature is None:
            key = self.keys[kid]
            signature = _SIGNERS.get_alg(key.algorithm).sign(signing_input, key.pair)
        return (signing_input + b"." + base64url(signature)).decode("ascii")


def assertion_parameters(assertion: str, **more: str) -> dict[str, str]:
    """Return the parameters that present ``assertion`` (RFC 7521 §4.2)."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **more}
