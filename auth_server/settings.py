"""The settings of the authorization server, `AUTH_SERVER_…` in the environment."""

from importlib.util import find_spec
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.identifiers import AUTH_SERVER_URL
from shared.origins import is_https_or_loopback
from shared.settings import (
    BindAddress,
    CheckedUrl,
    IssuerUrl,
    MetricsSettings,
    VaultSettings,
    split_at_commas,
    state_dir,
)

CheckedUrls = Annotated[tuple[CheckedUrl, ...], NoDecode, BeforeValidator(split_at_commas)]
SigningAlgorithm = Literal["RS256", "ES256", "PS256", "Ed25519"]

ID_TOKEN_ALGORITHM: Final = "RS256"  # noqa: S105 - an algorithm, no password
"""OIDC Core §15.1 makes RS256 the one that every client can verify; so it signs each id_token."""

LONGEST_LIFETIME_SECONDS: Final = 3600
"""No token of any client lives longer (RFC 6750 §5.3); so a key may go some time after its last."""

LONGEST_KEY_RELOAD_SECONDS: Final = 300
LONGEST_KEY_OUTAGE_SECONDS: Final = 3600
LONGEST_CLOCK_SKEW_SECONDS: Final = 300

_NAME_IN_THE_VAULT: Final = "^[A-Za-z0-9_-]{1,128}$"

VALKEY_SCHEMES: Final = frozenset({"valkey", "valkeys", "redis", "rediss"})
VALKEY_TLS_SCHEMES: Final = frozenset({"valkeys", "rediss"})


def checked_valkey_url(url: str) -> str:
    """Return ``url`` if it names a Valkey or Redis server and, at most, a user and a database.

    Raises ValueError where it does not, where it holds a password or options, and where the
    package is not installed.
    """
    try:
        parts = urlsplit(url)
        host, _port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:
        raise ValueError("is no URL") from error
    if parts.scheme not in VALKEY_SCHEMES or not host:
        raise ValueError("must be a URL as valkey://host:6379/0; valkeys:// is with TLS")
    if parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must hold no password, which is the secret `throttling_password`")
    if parts.path.strip("/") and not parts.path[1:].isdecimal():
        raise ValueError("must have the number of a database as its path, or none")
    if find_spec("valkey") is None:
        raise ValueError("needs the package `valkey`, which is not installed")
    return url


ValkeyUrl = Annotated[str, AfterValidator(checked_valkey_url)]


class AuthServerSettings(VaultSettings, MetricsSettings):
    """What can be set; every default is the local stack's."""

    model_config = SettingsConfigDict(env_prefix="AUTH_SERVER_")

    bind: BindAddress = "127.0.0.1:9000"
    """Address and port to listen on."""

    threads: int = Field(default=1, ge=1, le=64)
    """How many requests one worker process handles at a time. With 1 the process itself handles
    each request that has arrived whole, and threads only wait for what is on its way: a token
    needs nothing but the processor, so that costs less. Take 4 where requests wait: each assertion
    of `private_key_jwt` for a commit, a client that is not in memory for a database far away, one
    with a `jwks_uri` for its server. Who waits holds up its worker, unless that has threads."""

    database_url: str = Field(default_factory=lambda: f"sqlite:///{state_dir() / 'auth_server.db'}")
    """SQLAlchemy's URL of the database, without a password."""

    issuer: IssuerUrl = AUTH_SERVER_URL
    """The `iss` of every token and of the metadata: one fixed string, compared byte for byte."""

    key_encryption_key: SecretStr | None = None
    """Fernet keys, one a line, which encrypt the private signing keys in the database: the first
    encrypts, each of them decrypts. A secret: read from its file in the secrets folder alone."""

    access_token_algorithm: SigningAlgorithm = "RS256"  # noqa: S105 - no password either
    """What access tokens are signed with. `RS256` is the one that every resource server has to know
    (RFC 9068 §2.1) and the cheaper to verify, which is done more often; `ES256` signs in a tenth of
    the time, so that this server issues nearly twice as many tokens."""

    access_token_lifetime_seconds: int = Field(default=300, ge=1, le=LONGEST_LIFETIME_SECONDS)
    """How long an access token is valid: an hour at most (RFC 6750 §5.3)."""

    id_tokens: bool = True
    """Whether id_tokens are issued at all, to clients that ask for `openid` and may have one."""

    id_token_lifetime_seconds: int = Field(default=300, ge=1, le=LONGEST_LIFETIME_SECONDS)
    """How long an id_token is valid."""

    metadata_max_age_seconds: int = Field(default=300, ge=0, le=86400)
    """How long others may keep the metadata and the JWKS. A new signing key waits as long."""

    key_reload_seconds: int = Field(default=5, ge=1, le=LONGEST_KEY_RELOAD_SECONDS)
    """How long a process uses the signing keys that it holds before it reads them again."""

    client_assertion_audiences: CheckedUrls = ()
    """What the `aud` of a client's assertion may be in place of the issuer, separated by commas:
    the token endpoint's URL, for clients that can name nothing else. Each such name lets another
    server draw an assertion out of a client and use it here (CVE-2025-27370)."""

    client_assertion_longest_lifetime_seconds: int = Field(default=3600, ge=1, le=86400)
    """How far ahead the `exp` of a client's assertion may be. Authlib's clients set an hour;
    where yours set less, lower it: an assertion that was overheard, but never arrived here, is
    good until then."""

    client_assertion_leeway_seconds: int = Field(default=10, ge=0, le=60)
    """How far the clock of a client that signs assertions may be from ours."""

    jwks_uri_max_age_seconds: int = Field(default=300, ge=1, le=86400)
    """How long the keys at a client's `jwks_uri` are used before they are fetched again."""

    jwks_uri_cooldown_seconds: int = Field(default=10, ge=1, le=3600)
    """How long after a fetch that failed, or that an unknown `kid` caused, there is no other."""

    jwks_uri_outage_seconds: int = Field(default=3600, ge=0, le=86400)
    """How long keys past their time are used on where they cannot be fetched again."""

    jwks_uri_timeout_seconds: float = Field(default=3, gt=0, le=30)
    """How long one fetch may take, from the look-up of the name to the last byte."""

    jwks_uri_may_be_internal: bool = False
    """Whether a client's `jwks_uri` may lead to addresses that are not public, and be plain http
    where `transport` is `plain-http`. Whoever registers a client can then have this server ask
    for what only it can reach."""

    @property
    def jwks_uri_may_be_plain_http(self) -> bool:
        """Whether keys are fetched without TLS, so that whoever is on the way could change them."""
        return self.jwks_uri_may_be_internal and self.transport == "plain-http"

    access_token_lifetime_max_seconds: int = Field(
        default=LONGEST_LIFETIME_SECONDS, ge=1, le=LONGEST_LIFETIME_SECONDS
    )
    """The longest lifetime that a client can be given for its access tokens."""

    @field_validator("access_token_lifetime_max_seconds")
    @classmethod
    def _not_below_the_default(cls, longest: int, info: ValidationInfo) -> int:
        if longest < info.data.get("access_token_lifetime_seconds", 1):
            raise ValueError("must not be less than access_token_lifetime_seconds")
        return longest

    def lifetime_seconds(self, of_client: int | None) -> int:
        """Return how long an access token is valid, for a client with this limit or with none."""
        wanted = self.access_token_lifetime_seconds if of_client is None else of_client
        return min(wanted, self.access_token_lifetime_max_seconds)

    throttling_failures_per_client: int = Field(default=100, ge=1, le=1_000_000)
    """How many failed authentications of one client from one address are answered 401 in a
    window; further ones are answered 429. Who has the right secret always passes."""

    throttling_failures_per_address: int = Field(default=2000, ge=1, le=1_000_000)
    """The same for one address (of IPv6 a /64), whichever clients it claims to be."""

    throttling_window_seconds: int = Field(default=60, ge=1, le=86400)
    """How long failures are counted together, from the first of them on."""

    throttling_url: ValkeyUrl | None = None
    """A Valkey or Redis in which all workers and replicas count together: `valkey://host:6379/0`,
    `valkeys://` with TLS. Without it each process counts in its own memory."""

    throttling_password: SecretStr | None = None
    """The password that goes with `throttling_url`."""

    @field_validator("throttling_password")
    @classmethod
    def _sent_where_nobody_listens(
        cls, password: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        """Refuse to send a password in clear text to another machine."""
        url = info.data.get("throttling_url")
        if password is None or url is None or info.data.get("transport") == "plain-http":
            return password
        if urlsplit(url).scheme not in VALKEY_TLS_SCHEMES and not is_https_or_loopback(url):
            raise ValueError(
                "throttling_url must be valkeys://, or on this machine, or transport plain-http"
            )
        return password

    client_cache_seconds: int = Field(default=5, ge=0, le=300)
    """How long a process keeps what it read of a client. 0: it keeps none, and reads the client at
    each request. For so long a client that was disabled, or a secret that was revoked, may still
    get a token."""

    secret_end_warning_days: int = Field(default=14, ge=0, le=366)
    """How many days before its end a secret that is in use is a warning in the log."""

    key_active_days: int = Field(default=90, ge=0, le=3650)
    """After how many days the next signing key takes over; 0: only by `keys rotate`."""

    key_clock_skew_seconds: int = Field(default=10, ge=0, le=LONGEST_CLOCK_SKEW_SECONDS)
    """How far the clocks of our replicas may be apart; and how long it may take to commit a key
    and to deliver the JWKS. A new signing key waits so much longer."""

    key_outage_seconds: int = Field(default=3600, ge=1, le=LONGEST_KEY_OUTAGE_SECONDS)
    """How long a process goes on with the signing keys that it holds while it cannot read the
    database. A key that was revoked meanwhile goes on signing there, so much longer."""

    key_encryption_entry: str | None = Field(default=None, pattern=_NAME_IN_THE_VAULT)
    """The vault's entry that holds the Fernet keys; without it, the secret `key_encryption_key`."""

    key_encryption_field: str = Field(default="key_encryption_key", pattern=_NAME_IN_THE_VAULT)
    """The field of that entry."""
