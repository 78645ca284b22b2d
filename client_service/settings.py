"""The settings of the client service; each is read as `shared/settings.py` says."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from client_service.ticks import ticks_in
from shared.identifiers import (
    ACCOUNT_PATH,
    AUTH_SERVER_URL,
    DEMO_CLIENT,
    OPENID,
    RESOURCE_SERVER_URL,
    is_identifier,
)
from shared.origins import is_https_or_loopback
from shared.settings import (
    BindAddress,
    CaFile,
    CheckedUrl,
    IssuerUrl,
    MetricsSettings,
    VaultSettings,
    state_dir,
)

SHORTEST_CONTROL_TOKEN = 32
AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]


def _checked_entry(name: str) -> str:
    if not is_identifier(name):
        raise ValueError("must be 1 to 128 characters of A-Z a-z 0-9 _ -")
    return name


def _checked_schedule(schedule: str) -> str:
    ticks_in(schedule)
    return schedule


def _checked_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("must be a time zone as in IANA's database: Europe/Berlin") from error
    return name


class ClientServiceSettings(VaultSettings, MetricsSettings):
    """What the worker asks, where, with which credentials, and how often."""

    model_config = SettingsConfigDict(env_prefix="CLIENT_SERVICE_")

    bind: BindAddress = "127.0.0.1:9002"
    """Address and port to listen on."""

    workers: int = Field(default=1, ge=1, le=1)
    """One: token, connections and scheduler belong to the process. More are further replicas."""

    database_url: str = Field(
        default_factory=lambda: f"sqlite:///{state_dir() / 'client_service.db'}"
    )
    """SQLAlchemy's URL of the database, without a password."""

    issuer: IssuerUrl = AUTH_SERVER_URL
    """The authorization server's issuer identifier, compared byte for byte."""

    metadata_url: CheckedUrl | None = None
    """Where the issuer's metadata is fetched, if not below the issuer (inside containers)."""

    token_url: CheckedUrl | None = None
    """The token endpoint; where it is set, nothing is discovered."""

    scope: str = Field(
        default=OPENID,
        pattern=r"^[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*$",
    )
    """The scopes to ask for, apart by spaces (RFC 6749 §3.3). `openid` alone yields all that the
    client may have, and an id_token, which is not used."""

    resource: CheckedUrl | None = None
    """The resource to ask a token for (RFC 8707); none: the client's default one."""

    auth_method: AuthMethod = "client_secret_post"
    """How the client proves itself: its secret in the Authorization header or in the form, or an
    assertion signed with the private key that the vault's entry holds (RFC 7523)."""

    default_token_lifetime: float = Field(default=60, gt=0, le=86_400)
    """Seconds that a token is used whose answer has no `expires_in`."""

    vault_entry: Annotated[str, AfterValidator(_checked_entry)] = DEMO_CLIENT
    """The vault's entry that holds `client_id`, and `client_secret` or `private_jwk`."""

    api_url: CheckedUrl = RESOURCE_SERVER_URL
    """The bank's address. The token goes to its origin and to no other."""

    account_path: str = Field(default=ACCOUNT_PATH, pattern=r"^/[^?#\s]*$")
    """The path of the account below `api_url`."""

    scheduler: bool = True
    """Whether this process takes the ticks of the schedules. False: runs on demand alone."""

    lease_seconds: float = Field(default=10, ge=1, le=3600)
    """How long a worker that died keeps its job; one that lives renews its lease in time."""

    wait_seconds: float = Field(default=30, ge=0, le=3600)
    """How long `run-once` waits for a run that is under way elsewhere."""

    patience_seconds: float = Field(default=2, ge=0, le=30)
    """How long `POST /runs` waits for a run under way before it answers 409."""

    stop_seconds: float = Field(default=20, ge=0, le=600)
    """How long a stopping process waits for its run to finish the page in hand. The platform has
    to wait 15 seconds longer before it kills (`stop_grace_period`, of Kubernetes
    `terminationGracePeriodSeconds`)."""

    receive_traces: bool = False
    """Whether `POST /v1/traces` takes the arrow events of the other services (the demo's way to
    show all five arrows in one place)."""

    reconcile_schedule: Annotated[str, AfterValidator(_checked_schedule)] = "every 60s"
    """When the job `reconcile` is due: `every 60s` (s, m, h, d), a cron expression of five fields
    (`*/5 * * * *`), or `never`: on demand alone."""

    full_audit_schedule: Annotated[str, AfterValidator(_checked_schedule)] = "0 3 * * SUN"
    """When every transaction that was reconciled is read again, in the same form."""

    time_zone: Annotated[str, AfterValidator(_checked_zone)] = "UTC"
    """The time zone by whose clocks cron expressions are read: `Europe/Berlin`."""

    history_days: int = Field(default=30, ge=1, le=3650)
    """How long runs and their arrow events are kept."""

    control_token: SecretStr | None = None
    """What the form of `POST /runs` has to hold as `control_token`; none: it starts no run."""

    @field_validator("control_token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        """Refuse what can be guessed: failures are not counted."""
        if token is not None and len(token.get_secret_value().strip()) < SHORTEST_CONTROL_TOKEN:
            raise ValueError(f"must have {SHORTEST_CONTROL_TOKEN} characters or more, at random")
        return token

    token_retry_seconds: float = Field(default=10, ge=0, le=300)
    """How long a token request that failed is tried again, where no answer came, or 429 or 5xx.
    0: one try."""

    api_retry_seconds: float = Field(default=10, ge=0, le=300)
    """How long a read at the bank that failed is tried again, in the same cases. 0: one try."""

    ca_file: CaFile | None = None
    """The CA certificates (PEM) that issuer and bank are checked against; none: the public ones."""

    @field_validator("issuer", "metadata_url", "token_url", "api_url")
    @classmethod
    def _protected(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Refuse to send secrets and tokens in clear text (RFC 6749 §3.2, RFC 6750 §5.3)."""
        if url is None or info.data.get("transport") == "plain-http" or is_https_or_loopback(url):
            return url
        raise ValueError("must be https, or on this machine, or transport must be plain-http")
