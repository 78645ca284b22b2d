"""The settings of the bank: what is read from `RESOURCE_SERVER_…`."""

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.identifiers import AUTH_SERVER_URL, RESOURCE_SERVER_URL
from shared.settings import (
    BindAddress,
    CheckedUrl,
    IssuerUrl,
    ServiceSettings,
    split_at_commas,
    state_dir,
)

Algorithm = Literal["RS256", "PS256", "ES256", "Ed25519"]


def _printable(text: str) -> str:
    """Return ``text`` if it can stand in a challenge's quoted string (RFC 9110 §5.6.4)."""
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        raise ValueError("must be printable ASCII without a quote or a backslash")
    return text


class ResourceServerSettings(ServiceSettings):
    """The settings of the bank; every one has a default, which is the local stack's."""

    model_config = SettingsConfigDict(env_prefix="RESOURCE_SERVER_")

    bind: BindAddress = "127.0.0.1:9001"
    """Address and port to listen on, as gunicorn takes them."""

    database_url: str = Field(
        default_factory=lambda: f"sqlite:///{state_dir() / 'resource_server.db'}"
    )
    """SQLAlchemy's URL of the bank's own database, without a password."""

    issuer: IssuerUrl = AUTH_SERVER_URL
    """The one issuer whose tokens are taken; `iss` is compared with it byte for byte."""

    metadata_url: CheckedUrl | None = None
    """Where the issuer's metadata is read, where that is not below the issuer: inside
    containers, say. The document must name the issuer all the same."""

    resource: Annotated[CheckedUrl, AfterValidator(_printable)] = RESOURCE_SERVER_URL
    """This bank's identifier, which a token's `aud` must equal or contain (RFC 9068 §4)."""

    realm: Annotated[str, AfterValidator(_printable)] = Field(default="bank", min_length=1)
    """The realm that the bank's challenges name."""

    algorithms: Annotated[
        tuple[Algorithm, ...], NoDecode, BeforeValidator(split_at_commas), Len(min_length=1)
    ] = ("RS256", "PS256", "ES256", "Ed25519")
    """The signature algorithms that are taken (RFC 8725 §3.1), separated by commas."""

    leeway_seconds: int = Field(default=5, ge=0, le=300)
    """How far the clocks of issuer and bank may be apart."""

    issuer_timeout_seconds: float = Field(default=3, gt=0, le=30)
    """How long one request to the issuer may take."""

    key_cache_min_seconds: int = Field(default=30, ge=1)
    """Keys are kept at least so long, even where the issuer's `max-age` is shorter."""

    key_cache_max_seconds: int = Field(default=3600, le=86_400)
    """Keys are kept at most so long, even where the issuer's `max-age` is longer."""

    key_cooldown_seconds: int = Field(default=5, ge=1, le=300)
    """How long after a fetch for an unknown `kid`, or a failed one, no other is made."""

    key_outage_seconds: int = Field(default=3600, ge=0, le=86_400)
    """How long keys are used past their time while the issuer cannot be reached."""

    idempotency_key_hours: int = Field(default=168, ge=1, le=8760)
    """How long the answer to a payment is remembered under its `Idempotency-Key`. After that the
    same key makes another payment."""

    @field_validator("issuer", "metadata_url")
    @classmethod
    def _https_behind_tls(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url and url.startswith("http://") and info.data.get("transport") == "tls-in-front":
            raise ValueError("must begin with https:// unless the transport is `plain-http`")
        return url

    @field_validator("key_cache_max_seconds")
    @classmethod
    def _not_below_the_minimum(cls, seconds: int, info: ValidationInfo) -> int:
        if seconds < info.data.get("key_cache_min_seconds", 0):
            raise ValueError("must not be less than key_cache_min_seconds")
        return seconds
