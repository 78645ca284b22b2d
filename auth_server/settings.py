"""The settings of the authorization server, `AUTH_SERVER_…` in the environment."""

from typing import Final, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.identifiers import AUTH_SERVER_URL
from shared.settings import BindAddress, IssuerUrl, VaultSettings, state_dir

SigningAlgorithm = Literal["RS256", "ES256", "PS256", "Ed25519"]

ID_TOKEN_ALGORITHM: Final = "RS256"  # noqa: S105 - an algorithm, no password
"""OIDC Core §15.1 makes RS256 the one that every client can verify; so it signs each id_token."""


class AuthServerSettings(VaultSettings):
    """What can be set; every default is the local stack's."""

    model_config = SettingsConfigDict(env_prefix="AUTH_SERVER_")

    bind: BindAddress = "127.0.0.1:9000"
    """Address and port to listen on."""

    database_url: str = Field(default_factory=lambda: f"sqlite:///{state_dir() / 'auth_server.db'}")
    """SQLAlchemy's URL of the database, without a password."""

    issuer: IssuerUrl = AUTH_SERVER_URL
    """The `iss` of every token and of the metadata: one fixed string, compared byte for byte."""

    key_encryption_key: SecretStr | None = None
    """Fernet keys, one a line, which encrypt the private signing keys in the database: the first
    encrypts, each of them decrypts. A secret: read from its file in the secrets folder alone."""

    access_token_algorithm: SigningAlgorithm = "RS256"  # noqa: S105 - no password either
    """What access tokens are signed with."""

    access_token_lifetime_seconds: int = Field(default=300, ge=1, le=3600)
    """How long an access token is valid: an hour at most (RFC 6750 §5.3)."""

    id_tokens: bool = True
    """Whether id_tokens are issued at all, to clients that ask for `openid` and may have one."""

    id_token_lifetime_seconds: int = Field(default=300, ge=1, le=3600)
    """How long an id_token is valid."""

    metadata_max_age_seconds: int = Field(default=300, ge=0, le=86400)
    """How long others may keep the metadata and the JWKS. A new signing key waits as long."""

    key_reload_seconds: int = Field(default=5, ge=1, le=300)
    """How long a process uses the signing keys that it holds before it reads them again."""
