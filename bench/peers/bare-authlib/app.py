"""Authlib's authorization server with no more than its documentation shows, on SQLite.

The grant for client credentials, clients in a table by Authlib's mixin, access tokens as JWTs by
RFC 9068, and Authlib's own protector for an API. The environment names the algorithm, the database
and the issuer.
"""
# mypy: ignore-errors
# It is written as Authlib's documentation has it, and Authlib ships no types.

import json
import os
import time
from typing import Any

from authlib.integrations.flask_oauth2 import (
    AuthorizationServer,
    ResourceProtector,
    current_token,
)
from authlib.integrations.sqla_oauth2 import (
    OAuth2ClientMixin,
    OAuth2TokenMixin,
    create_query_client_func,
    create_save_token_func,
)
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator, JWTBearerTokenValidator
from flask import Flask
from joserfc.jwk import ECKey, KeySet, RSAKey
from sqlalchemy import Integer, create_engine
from sqlalchemy.orm import DeclarativeBase, mapped_column, scoped_session, sessionmaker

ALGORITHM = os.environ["ALGORITHM"]
ISSUER = os.environ["ISSUER"]
API = os.environ.get("AUDIENCE", "urn:bench:api")
LIFETIME_SECONDS = 300

engine = create_engine(f"sqlite:///{os.environ['DATABASE']}")
session = scoped_session(sessionmaker(engine))


class Base(DeclarativeBase):
    """The tables."""


class Client(Base, OAuth2ClientMixin):
    """A client, as Authlib's mixin has it."""

    __tablename__ = "client"
    id = mapped_column(Integer, primary_key=True)


class Token(Base, OAuth2TokenMixin):
    """A token that was issued; the documented server writes a row for each."""

    __tablename__ = "token"
    id = mapped_column(Integer, primary_key=True)
    user_id = mapped_column(Integer)


def _new_key() -> Any:
    parameters = {"kid": "bench", "use": "sig", "alg": ALGORITHM}
    if ALGORITHM == "RS256":
        return RSAKey.generate_key(2048, parameters)
    return ECKey.generate_key("P-256", parameters)


key = _new_key()


class Generator(JWTBearerTokenGenerator):
    """Signs with the one key."""

    def get_jwks(self) -> Any:
        """Return the private key."""
        return key

    def get_audiences(self, client: Any, user: Any, scope: Any) -> str:  # noqa: ARG002 - Authlib's
        """Return the one API."""
        return API


class ClientCredentials(grants.ClientCredentialsGrant):
    """The grant, with both ways to send a secret."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012


def _keep_nothing(token: Any, request: Any) -> None:
    """Save no token, as ours does."""


app = Flask(__name__)
server = AuthorizationServer(
    app,
    query_client=create_query_client_func(session, Client),
    save_token=create_save_token_func(session, Token)
    if os.environ["ROW_FOR_EACH_TOKEN"]
    else _keep_nothing,
)
server.register_grant(ClientCredentials)
server.register_token_generator(
    "default",
    Generator(
        issuer=ISSUER,
        alg=ALGORITHM,
        expires_generator=lambda client, grant_type: LIFETIME_SECONDS,  # noqa: ARG005
    ),
)


class Validator(JWTBearerTokenValidator):
    """Checks against the keys of another issuer where they are given, or our own."""

    def get_jwks(self) -> Any:
        """Return the public keys."""
        return trusted_keys


public_keys = KeySet([type(key).import_key(key.as_dict(private=False))])
trusted_keys = (
    KeySet.import_key_set(json.loads(os.environ["TRUSTED_KEYS"]))
    if "TRUSTED_KEYS" in os.environ
    else public_keys
)
require_oauth = ResourceProtector()
require_oauth.register_token_validator(Validator(issuer=ISSUER, resource_server=API))


@app.teardown_appcontext
def _end_session(_: BaseException | None) -> None:
    session.remove()


@app.post("/oauth/token")
def token() -> Any:
    """Answer a token request."""
    return server.create_token_response()


@app.get("/jwks")
def jwks() -> Any:
    """Return the public key."""
    return public_keys.as_dict(private=False)


@app.get("/open")
def open_to_all() -> Any:
    """Answer as the guarded view does, without a check."""
    return {"balance": 100}


@app.get("/guarded")
@require_oauth("Read")
def guarded() -> Any:
    """Answer whoever has a good token."""
    assert current_token["client_id"]
    return {"balance": 100}


def _register() -> None:
    Base.metadata.create_all(engine)
    if session.query(Client).count():
        return
    client = Client(
        client_id="bench",
        client_secret=os.environ["BENCH_SECRET"],
        client_id_issued_at=int(time.time()),
    )
    client.set_client_metadata(
        {
            "grant_types": ["client_credentials"],
            "response_types": [],
            "scope": "Read Write",
            "token_endpoint_auth_method": "client_secret_basic",
        }
    )
    session.add(client)
    session.commit()


_register()
