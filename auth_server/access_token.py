"""The access token: a JWT for one resource (RFC 9068).

Authlib's JWTBearerTokenGenerator is not used: it cannot learn which resource was granted, names
no `kid`, and with a key set signs with a random key of it.
"""

import secrets
from typing import Any

from auth_server.scope_policy import Granted

TYPE = "at+jwt"
JTI_BYTES = 16


def access_token_claims(
    *, issuer: str, client_id: str, granted: Granted, issued_at: int, lifetime_seconds: int
) -> dict[str, Any]:
    """Return the claims of RFC 9068 §2.2.

    `aud` is the one resource, never the client (§3; Authlib's default is the client id). `sub` is
    the client: no other subject is there in this grant.
    """
    return {
        "iss": issuer,
        "exp": issued_at + lifetime_seconds,
        "aud": granted.resource,
        "sub": client_id,
        "client_id": client_id,
        "iat": issued_at,
        "jti": secrets.token_urlsafe(JTI_BYTES),
        "scope": granted.api_scope,
    }
