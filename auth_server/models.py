"""The tables: clients, their secrets, keys and scopes, resources and their scopes, signing keys.

And what has to be remembered until it ends: assertions that were used, tokens that were revoked.
Times are whole seconds since 1970, as in the tokens (NumericDate, RFC 7519 §2).
"""

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

IDENTIFIER_LENGTH = 128
RESOURCE_LENGTH = 512
SCOPE_LENGTH = 128
URI_LENGTH = 2048


class Base(DeclarativeBase):
    """The root of the tables; constraints get names that a migration can speak of."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger}


class Resource(Base):
    """An API that tokens are made for, known by the URI that stands in their `aud`."""

    __tablename__ = "resources"
    __table_args__ = (
        # One default at most, also where two commands set one at the same time. Its `WHERE
        # is_default` is in migration 0001, which makes it: said here, for PostgreSQL, it would load
        # a dialect that most do not use, and make each start a twentieth longer.
        Index("uq_resources_default", "is_default", unique=True),
    )

    uri: Mapped[str] = mapped_column(String(RESOURCE_LENGTH), primary_key=True)
    is_default: Mapped[bool]
    created_at: Mapped[int]


class ResourceScope(Base):
    """A scope that a resource understands, at its place in the order of the answers."""

    __tablename__ = "resource_scopes"

    resource: Mapped[str] = mapped_column(ForeignKey("resources.uri"), primary_key=True)
    scope: Mapped[str] = mapped_column(String(SCOPE_LENGTH), primary_key=True)
    position: Mapped[int]


class Client(Base):
    """A registered client: a machine that asks for tokens in its own name.

    ``jwks`` or ``jwks_uri`` hold the public keys of one that signs assertions (RFC 7591 §2).
    ``introspects`` is the resource whose tokens it may look into: it is a resource server then.
    ``access_token_lifetime_seconds`` None: as the settings have it.
    """

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(String(IDENTIFIER_LENGTH), primary_key=True)
    authentication_method: Mapped[str] = mapped_column(String(64))
    may_have_id_token: Mapped[bool]
    default_resource: Mapped[str | None] = mapped_column(ForeignKey("resources.uri"))
    access_token_lifetime_seconds: Mapped[int | None]
    jwks: Mapped[str | None] = mapped_column(Text)
    jwks_uri: Mapped[str | None] = mapped_column(String(URI_LENGTH))
    introspects: Mapped[str | None] = mapped_column(ForeignKey("resources.uri"))
    created_at: Mapped[int]
    disabled_at: Mapped[int | None]


class ClientScope(Base):
    """A scope of a resource that a client may have."""

    __tablename__ = "client_scopes"
    __table_args__ = (
        ForeignKeyConstraint(
            ["resource", "scope"], ["resource_scopes.resource", "resource_scopes.scope"]
        ),
    )

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"), primary_key=True)
    resource: Mapped[str] = mapped_column(String(RESOURCE_LENGTH), primary_key=True)
    scope: Mapped[str] = mapped_column(String(SCOPE_LENGTH), primary_key=True)


class ClientSecret(Base):
    """A secret of a client: its SHA-256, never the secret itself.

    A secret that goes into the vault is stored first and delivered when the vault has it:
    ``vault_version`` is the version of ``vault_entry`` that is to hold it, so that after a crash
    anybody can tell whether it got there. ``last_used_at`` is noted once a minute at most.
    """

    __tablename__ = "client_secrets"

    secret_id: Mapped[str] = mapped_column(String(IDENTIFIER_LENGTH), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"), index=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[int]
    expires_at: Mapped[int | None] = mapped_column(index=True)
    delivered_at: Mapped[int | None]
    vault_entry: Mapped[str | None] = mapped_column(String(IDENTIFIER_LENGTH))
    vault_version: Mapped[int | None]
    last_used_at: Mapped[int | None]
    revoked_at: Mapped[int | None]


class SigningKey(Base):
    """A key that signs tokens: the public part in clear, the private one encrypted.

    ``encrypted_private_jwk`` is empty where it will never sign again. `signing_keys/life.py` says
    what the times mean.
    """

    __tablename__ = "signing_keys"
    # Two processes that both miss a key both make generation 1: the second is refused.
    __table_args__ = (UniqueConstraint("algorithm", "generation"),)

    kid: Mapped[str] = mapped_column(String(IDENTIFIER_LENGTH), primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(16))
    generation: Mapped[int]
    public_jwk: Mapped[str] = mapped_column(Text)
    encrypted_private_jwk: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int]
    known_from: Mapped[int]
    active_from: Mapped[int | None]
    revoked_at: Mapped[int | None]
    pending_seconds: Mapped[int]


class UsedAssertion(Base):
    """The `jti` of a client assertion that was accepted, kept until the assertion ends.

    ``assertion_hash`` is the SHA-256 of client and `jti` in hexadecimal: a second use of the same
    one is refused by the primary key, in whichever process it comes (RFC 7523 §3).
    """

    __tablename__ = "used_assertions"

    assertion_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)


class RevokedToken(Base):
    """The `jti` of an access token that was revoked, kept until the token ends (decision 7)."""

    __tablename__ = "revoked_tokens"

    jti: Mapped[str] = mapped_column(String(IDENTIFIER_LENGTH), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)
