"""The id_token: tells the client who it is (OIDC Core §2), and is no key to any API.

OpenID Connect defines it for people who log in. Here it is an extension, as the flow's write-up
returns one (decision 2); a resource server refuses it by its `typ`.
"""

import base64
import hashlib
from typing import Any

TYPE = "JWT"


def id_token_claims(
    *, issuer: str, client_id: str, access_token: str, issued_at: int, lifetime_seconds: int
) -> dict[str, Any]:
    """Return the claims of OIDC Core §2: subject and audience are both the client."""
    return {
        "iss": issuer,
        "sub": client_id,
        "aud": client_id,
        "exp": issued_at + lifetime_seconds,
        "iat": issued_at,
        "at_hash": at_hash(access_token),
    }


def at_hash(access_token: str) -> str:
    """Return the left half of the token's SHA-256 in base64url (OIDC Core §3.1.3.6, RS256)."""
    digest = hashlib.sha256(access_token.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
