"""The least that a Flask server does for a token: read the form, compare a secret, sign a JWT.

No library for OAuth, no log line; 400 and 401 are all its errors. Its one client stands in the
environment, or each is a row of `clients` in the SQLite file CLIENTS_DATABASE.
"""

import os
import secrets
import sqlite3
import time
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qs

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask, Response, abort, request
from joserfc.jwk import ECKey, RSAKey

ALGORITHM, ISSUER = os.environ["ALGORITHM"], os.environ["ISSUER"]
API = "urn:bench:api"
LIFETIME_SECONDS = 300
# Of the whole `id:secret`, as HTTP Basic has it.
CREDENTIALS_HASH = sha256(f"bench:{os.environ['BENCH_SECRET']}".encode()).digest()
CLIENTS_DATABASE = os.environ.get("CLIENTS_DATABASE")


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


_key = ECKey.generate_key("P-256") if ALGORITHM == "ES256" else RSAKey.generate_key(2048)
_kid = _key.thumbprint()
# joserfc judges key and header anew for each token; cryptography signs, and nothing else.
_private: Any = _key.raw_value
_header = _base64url(orjson.dumps({"alg": ALGORITHM, "typ": "at+jwt", "kid": _kid}))
_sha256, _ecdsa, _pkcs1 = SHA256(), ECDSA(SHA256()), PKCS1v15()
_clients = (
    sqlite3.connect(CLIENTS_DATABASE, isolation_level=None, check_same_thread=False)
    if CLIENTS_DATABASE
    else None
)

app = Flask(__name__)


@app.post("/token")
def token() -> Response:
    """Return an access token for the client that HTTP Basic names."""
    form = parse_qs(request.get_data(as_text=True))
    if form.get("grant_type") != ["client_credentials"] or form.get("scope") != ["Read"]:
        abort(400)
    client_id = _authenticated(request.headers.get("Authorization", ""))
    if client_id is None:
        abort(401)
    answer = {
        "access_token": _signed(client_id, int(time.time())),
        "token_type": "Bearer",
        "expires_in": LIFETIME_SECONDS,
        "scope": "Read",
    }
    return Response(orjson.dumps(answer), content_type="application/json")


@app.get("/jwks")
def jwks() -> dict[str, Any]:
    """Return the public key."""
    return {"keys": [_key.as_dict(private=False, kid=_kid, alg=ALGORITHM)]}


def _authenticated(authorization: str) -> str | None:
    """Return the name of the client whose credentials these are; None where they are wrong."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        presented = b64decode(credentials)
    except ValueError:
        return None
    name = presented.partition(b":")[0].decode(errors="replace")
    is_right = compare_digest(sha256(presented).digest(), _hash_of(name))
    return name if is_right and scheme.lower() == "basic" else None


def _hash_of(client_id: str) -> bytes:
    """Return the hash of the client's credentials; empty, as none is, where there is no client."""
    if _clients is None:
        return CREDENTIALS_HASH
    query = "SELECT credentials_hash FROM clients WHERE client_id = ?"
    row = _clients.execute(query, (client_id,)).fetchone()
    return row[0] if row else b""


def _signed(client_id: str, now: int) -> str:
    claims = {
        "iss": ISSUER,
        "exp": now + LIFETIME_SECONDS,
        "aud": API,
        "sub": client_id,
        "client_id": client_id,
        "iat": now,
        "jti": secrets.token_urlsafe(16),
        "scope": "Read",
    }
    signed = _header + b"." + _base64url(orjson.dumps(claims))
    if ALGORITHM == "ES256":
        r, s = decode_dss_signature(_private.sign(signed, _ecdsa))
        signature = r.to_bytes(32) + s.to_bytes(32)
    else:
        signature = _private.sign(signed, _pkcs1, _sha256)
    return (signed + b"." + _base64url(signature)).decode()
