"""Client authentication by a shared secret: client_secret_basic and client_secret_post.

RFC 6749 §2.3.1. The two differ in where the credentials stand, and are interchangeable.
"""

import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from auth_server.registry import (
    LIVE_SECRETS_PER_CLIENT,
    LiveSecret,
    RegisteredClient,
    is_live,
    secret_hash,
)
from auth_server.token_form import form_decoded

BASIC = "client_secret_basic"
POST = "client_secret_post"
METHODS = (BASIC, POST)

_NO_HASH = "0" * 64  # the SHA-256 of nothing that anybody knows


@dataclass(frozen=True, slots=True)
class ClientSecretCredentials:
    """What a client presented: who it says it is, and the secret that shall prove it."""

    method: str
    client_id: str
    client_secret: str = field(repr=False)


def basic_credentials(header: str) -> ClientSecretCredentials:
    """Return the credentials in an `Authorization: Basic …` header.

    Both parts are form-encoded before they are joined (RFC 6749 §2.3.1), so exactly one colon
    is left. Authlib ignores characters outside Base64, doesn't decode `+`, and answers 500 to
    what is not UTF-8. Raises ValueError where the header is not well-formed.
    """
    encoded = header.partition(" ")[2].strip(" ")
    decoded = a2b_base64(encoded, strict_mode=True)
    if b2a_base64(decoded, newline=False).decode() != encoded:
        raise ValueError("Base64 that is not canonical")
    client_id, colon, secret = decoded.partition(b":")
    if not colon or b":" in secret:
        raise ValueError("not one colon")
    return ClientSecretCredentials(BASIC, form_decoded(client_id), form_decoded(secret))


def post_credentials(parameters: Mapping[str, str]) -> ClientSecretCredentials:
    """Return the credentials in the body; the client_id is empty where none came."""
    return ClientSecretCredentials(
        POST, parameters.get("client_id", ""), parameters["client_secret"]
    )


def matching_secret(client: RegisteredClient | None, secret: str, now: float) -> LiveSecret | None:
    """Return the live secret of ``client`` that ``secret`` is, with the same work in every case.

    An unknown client, a disabled one and a wrong secret cost one hash and as many comparisons
    as a right secret does.
    """
    presented = secret_hash(secret)
    live = [one for one in client.secrets if is_live(one, now)] if client else []
    matching = None
    for one in live:
        if hmac.compare_digest(presented, one.secret_hash):
            matching = one
    for _ in range(LIVE_SECRETS_PER_CLIENT - len(live)):
        hmac.compare_digest(presented, _NO_HASH)
    return matching
