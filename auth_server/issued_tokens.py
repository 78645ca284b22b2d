"""What this server knows of the access tokens that it issued: whether one is active, what it says.

No token is kept (decision 7). A token is what the signature vouches for; kept is only which ones
were revoked, until they end. Every look reads the database, so a revocation counts at once, in
all processes.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from joserfc.jwk import JWKRegistry, Key
from sqlalchemy import bindparam, delete, select
from sqlalchemy.exc import IntegrityError

from auth_server import access_token
from auth_server.jwk import SIGNATURES
from auth_server.models import Client, RevokedToken
from auth_server.signed_jwt import SignedJwt, signed_jwt
from auth_server.signing_keys import SigningKeys
from shared.database import Database
from shared.identifiers import is_identifier

SWEEP_SECONDS: Final = 60
KEPT_AFTER_THE_END_SECONDS: Final = 300
"""A replica whose clock is behind takes a token for active a while longer."""

_ENDED = (
    select(Client.disabled_at, RevokedToken.jti)
    .outerjoin(RevokedToken, RevokedToken.jti == bindparam("jti"))
    .where(Client.client_id == bindparam("client_id"))
)


class InactiveTokenError(Exception):
    """The token is none of ours, or no longer active; the text says why, for the log alone."""


class IssuedTokens:
    """Judges access tokens, and ends them before their time."""

    def __init__(
        self,
        issuer: str,
        keys: SigningKeys,
        database: Database,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._database = database
        self._now = now
        self._opened: dict[str, Key] = {}
        self._swept_at = 0.0

    def claims_of_active(self, token: str) -> Mapping[str, Any]:
        """Return the claims of ``token``; raise InactiveTokenError unless it is good now.

        RFC 7662 §4, MUST: signature, times and revocation are all checked; besides, that it is an
        access token of this issuer, and that its client is not disabled. Not checked: its audience.
        """
        claims = self._signed(token)
        if claims.get("iss") != self._issuer:
            raise InactiveTokenError("it is of another issuer")
        now = self._now()
        if now >= _time(claims, "exp"):
            raise InactiveTokenError("it has expired")
        if "nbf" in claims and now < _time(claims, "nbf"):
            raise InactiveTokenError("it is not valid yet")
        self._refuse_ended(_identifier(claims, "client_id"), _identifier(claims, "jti"))
        return claims

    def revoke(self, claims: Mapping[str, Any]) -> None:
        """Let the token of ``claims`` be active no more; once more is fine."""
        row = RevokedToken(jti=claims["jti"], expires_at=claims["exp"])
        try:
            with self._database.writing() as session:
                session.add(row)
        except IntegrityError:
            return  # another process revoked it in the same moment
        self._forget_what_ended()

    def _signed(self, token: str) -> Mapping[str, Any]:
        """Return the claims of ``token`` if one of our keys signed it as an access token.

        What costs nothing is judged before the signature; nothing counts before it is verified.
        """
        try:
            jwt = signed_jwt(token)
        except ValueError as error:
            raise InactiveTokenError("it is no well-formed JWT") from error
        public = self._public_jwk(jwt)
        algorithm = SIGNATURES.get_alg(public["alg"])
        if not algorithm.verify(jwt.signing_input, jwt.signature, self._key(public)):
            raise InactiveTokenError("its signature is not good")
        return jwt.claims

    def _public_jwk(self, jwt: SignedJwt) -> Mapping[str, Any]:
        """Return which of our keys the header names: one that is published, so not a revoked one.

        Our headers have three members and no others. So no extension is ever to be understood
        (RFC 7515 §4.1.11), and the algorithm is that of the key (RFC 8725 §3.1).
        """
        for jwk in self._keys.published():
            ours = {"alg": jwk["alg"], "typ": access_token.TYPE, "kid": jwk["kid"]}
            if jwt.header == ours:
                return jwk
        raise InactiveTokenError("it is no access token of ours")

    def _key(self, public: Mapping[str, Any]) -> Key:
        """Return the key of a JWK, opened once: the `kid` is its thumbprint (RFC 7638)."""
        kid: str = public["kid"]
        if kid not in self._opened:
            self._opened[kid] = JWKRegistry.import_key(dict(public))
        return self._opened[kid]

    def _refuse_ended(self, client_id: str, jti: str) -> None:
        """Refuse what was revoked, and what belongs to a client that may have no tokens now."""
        with self._database.reading() as session:
            row = session.execute(_ENDED, {"client_id": client_id, "jti": jti}).one_or_none()
        if row is None or row.disabled_at is not None:
            raise InactiveTokenError("its client is disabled")
        if row.jti is not None:
            raise InactiveTokenError("it was revoked")

    def _forget_what_ended(self) -> None:
        """Delete the rows of tokens that ended anyway; once a minute in each process at most."""
        now = self._now()
        if abs(now - self._swept_at) < SWEEP_SECONDS:
            return
        self._swept_at = now
        long_ended = RevokedToken.expires_at < int(now) - KEPT_AFTER_THE_END_SECONDS
        with self._database.writing() as session:
            session.execute(delete(RevokedToken).where(long_ended))


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int):
        raise InactiveTokenError(f"its {name} is no time")
    return value


def _identifier(claims: Mapping[str, Any], name: str) -> str:
    """Return the claim if it has the shape of ours: it goes into SQL."""
    value = claims.get(name)
    if not isinstance(value, str) or not is_identifier(value):
        raise InactiveTokenError(f"its {name} is none of ours")
    return value
