"""The settings of the bank: what is read from `RESOURCE_SERVER_…`."""

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.identifiers import AUTH_SERVER_URL, RESOURCE_SERVER_URL
from shared.settings import (
    BindAddress,
    CheckedUrl,
    IssuerUrl,
    ServiceSettings,
    secret_file,
    split_at_commas,
    state_dir,
)

Algorithm = Literal["RS256", "PS256", "ES256", "Ed25519"]


def _printable(text: str) -> str:
    """Return ``text`` if it can stand in a challenge's quoted string (RFC 9110 §5.6.4)."""
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        raise ValueError("must be printable ASCII without a quote or a backslash")
    return text


def _without_brackets(url: str) -> str:
    """Return ``url`` if it has no angle bracket: they are in no URI (RFC 3986 §2)."""
    if "<" in url or ">" in url:
        raise ValueError("must have no angle brackets")
    return url


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

    resource: Annotated[
        CheckedUrl, AfterValidator(_printable), AfterValidator(_without_brackets)
    ] = RESOURCE_SERVER_URL
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
    """How long a connection to the issuer may take, and as long again its answer."""

    key_cache_min_seconds: int = Field(default=30, ge=1)
    """Keys are kept at least so long, even where the issuer's `max-age` is shorter."""

    key_cache_max_seconds: int = Field(default=3600, le=86_400)
    """Keys are kept at most so long, even where the issuer's `max-age` is longer."""

    key_cooldown_seconds: int = Field(default=5, ge=1, le=300)
    """How long after a fetch for an unknown `kid`, or a failed one, no other is made."""

    key_outage_seconds: int = Field(default=3600, ge=0, le=86_400)
    """How long keys are used past their time while the issuer cannot be reached."""

    token_check: Literal["local", "introspection"] = "local"  # noqa: S105 - no password
    """`local`: tokens are validated here, with the issuer's keys. `introspection`: the issuer is
    asked about each (RFC 7662), so that a revoked one is refused at once."""

    introspection_client_id: str | None = None
    """The bank's own client id at the issuer, for `introspection`."""

    introspection_client_secret: SecretStr | None = None
    """The secret that goes with that client id."""

    remembered_tokens: int = Field(default=1000, ge=0, le=100_000)
    """How many verified tokens each process remembers, so that one that comes again is not
    verified again; 0: none. Under `introspection` none is."""

    resource_name: str = Field(default="Bank", min_length=1, max_length=100)
    """The name of this bank that people read, in its metadata (RFC 9728 §2)."""

    resource_documentation: CheckedUrl | None = None
    """Where developers read how to use this bank, in its metadata."""

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

    @field_validator("introspection_client_id", "introspection_client_secret")
    @classmethod
    def _there_where_the_issuer_is_asked(
        cls, value: str | SecretStr | None, info: ValidationInfo
    ) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text or info.data.get("token_check") != "introspection":
            return value
        if info.field_name == "introspection_client_id":
            raise ValueError("must be set where token_check is `introspection`")
        file = secret_file(cls, str(info.field_name))
        raise ValueError(f"token_check `introspection` needs it: put it into the file {file}")
