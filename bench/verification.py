"""Judges every answer of a load, off the clock: a wrong one makes the whole run worthless.

A server could be fast because it hands out one token twice, or one that nobody would accept. So
each has to be a 200, with a token of the algorithm that was measured, good under the server's
published keys, for the API and the scope that were asked, and different from all others.
"""

import json
import urllib.request
from collections.abc import Iterable
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from bench.launch import SCOPE

NOT_ASKED_FOR = "Write"
RSA_BITS = 2048
LIFETIME_SECONDS = 300
SLACK_SECONDS = 2
"""Some servers read the clock twice."""


class BadAnswerError(Exception):
    """An answer that is not the token that was asked for."""


def published_keys(port: int, path: str) -> KeySet:
    """Return the public keys of the server on ``port``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        keys = KeySet.import_key_set(json.load(answer))
    for key in keys.keys:
        size = key.raw_value.key_size if isinstance(key, RSAKey) else RSA_BITS
        if size != RSA_BITS:
            raise BadAnswerError(f"the RSA key has {size} bits, others have {RSA_BITS}")
    return keys


def require_200(answers: Iterable[tuple[int, bytes]]) -> int:
    """Return how many answers there are; raise BadAnswerError where one is no 200."""
    count = 0
    for status, body in answers:
        if status != 200:
            raise BadAnswerError(f"answered {status}: {body[:200]!r}")
        count += 1
    return count


def verify_tokens(
    answers: Iterable[tuple[int, bytes]], keys: KeySet, algorithm: str, audience: str
) -> int:
    """Return how many tokens there are; raise BadAnswerError where one is not good."""
    seen: set[str] = set()
    for status, body in answers:
        require_200([(status, body)])
        token = json.loads(body)["access_token"]
        if token in seen:
            raise BadAnswerError("the same token came twice")
        seen.add(token)
        _judge(token, keys, algorithm, audience)
    return len(seen)


def _judge(token: str, keys: KeySet, algorithm: str, audience: str) -> None:
    try:
        claims = jwt.decode(token, keys, algorithms=[algorithm]).claims
    except (JoseError, ValueError) as error:
        raise BadAnswerError(f"a token that does not verify with {algorithm}: {error}") from error
    if audience not in audiences_in(claims):
        raise BadAnswerError(f"a token for {claims.get('aud')!r}, not for {audience!r}")
    scopes = scopes_in(claims)
    if SCOPE not in scopes or NOT_ASKED_FOR in scopes:
        raise BadAnswerError(f"a token with scope {claims.get('scope')!r}, not with {SCOPE}")
    lifetime = claims["exp"] - claims["iat"]
    if abs(lifetime - LIFETIME_SECONDS) > SLACK_SECONDS:
        raise BadAnswerError(f"a token that lives for {lifetime} s, not for {LIFETIME_SECONDS} s")


def audiences_in(claims: dict[str, Any]) -> list[str]:
    """Return whom a token is for, one text or a list (RFC 7519 §4.1.3).

    Keycloak adds its own `account` to the API.
    """
    audience = claims.get("aud") or []
    return [audience] if isinstance(audience, str) else list(audience)


def scopes_in(claims: dict[str, Any]) -> list[str]:
    """Return the scopes of a token; Spring writes a list, RFC 9068 §2.2.3 wants a text.

    Keycloak adds those that every client has, as `profile`.
    """
    scope = claims.get("scope", "")
    return scope.split() if isinstance(scope, str) else list(scope)
