"""How every service reads its settings, and the settings that all three have.

A setting is looked for in this order: the environment (with the service's prefix), the file
`.env` in the working directory, the file that the local stack wrote. A setting that is a secret
is looked for in the secrets folder and nowhere else.
"""

import os
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from shared.origins import is_https_or_loopback
from shared.service_logging import LogRequests

LAST_PORT = 65535
STATE_DIR_VARIABLE = "LOCAL_STATE_DIR"
SECRETS_DIR_VARIABLE = "SECRETS_DIR"
STACK_SETTINGS_FILE = "stack.env"


def state_dir() -> Path:
    """Return the folder of the local stack's state: databases, vault, secrets, logs."""
    return Path(os.environ.get(STATE_DIR_VARIABLE, ".local")).absolute()


def secrets_dir() -> Path:
    """Return the folder that holds one file for each setting that is a secret."""
    return Path(os.environ.get(SECRETS_DIR_VARIABLE, state_dir() / "secrets"))


def checked_url(url: str) -> str:
    """Return ``url`` as it was given, if it is absolute, http or https, and has no fragment.

    A string that is checked, not pydantic's HttpUrl: that type appends a slash, and identifiers
    are compared byte for byte (RFC 8414 §3.3, RFC 9068 §4).

    Raises ValueError where it is not.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest.partition("/")[0]:
        raise ValueError("must be an absolute URL that begins with http:// or https://")
    try:
        host, _port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from error
    if not host:
        raise ValueError("must name a host")
    if "#" in url or any(character.isspace() for character in url):
        raise ValueError("must have no fragment and no white space")
    return url


def checked_bind(address: str) -> str:
    """Return ``address`` if it is a host and a port; raise ValueError where it is not."""
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        raise ValueError("must be an address and a port, as 127.0.0.1:9000")
    return address


def checked_issuer(url: str) -> str:
    """Return ``url`` if it can be an issuer identifier: no query, no slash at the end.

    RFC 8414 §2 forbids query and fragment. A slash at the end is legal, but then the well-known
    address and the byte-for-byte comparison trip most clients; so we refuse it at the start.

    Raises ValueError where it can't.
    """
    if "?" in url or url.endswith("/"):
        raise ValueError("must have no query and must not end in a slash")
    return checked_url(url)


def checked_ca_file(file: Path) -> Path:
    """Return ``file`` if it holds CA certificates; raise ValueError where it does not."""
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:  # ssl's own errors are among them
        raise ValueError("must be a file with CA certificates (PEM)") from error
    return file


BindAddress = Annotated[str, AfterValidator(checked_bind)]
CheckedUrl = Annotated[str, AfterValidator(checked_url)]
IssuerUrl = Annotated[str, AfterValidator(checked_issuer)]
CaFile = Annotated[Path, AfterValidator(checked_ca_file)]


def split_at_commas(value: object) -> object:
    """Return the parts of a text that is separated by commas; anything else as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_at_commas)]


class ServiceSettings(BaseSettings):
    """The settings that each of the three services has."""

    model_config = SettingsConfigDict(
        defer_build=True,  # made when first read: most classes are only there to be extended
        frozen=True,
        extra="ignore",  # `.env` holds the settings of all three services
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    bind: BindAddress
    """Address and port to listen on, as gunicorn takes them: `127.0.0.1:9000`."""

    workers: int = Field(default=2, ge=1, le=64)
    """How many worker processes gunicorn starts."""

    threads: int = Field(default=4, ge=1, le=64)
    """How many requests one worker process handles at a time. With 1 the process itself handles
    each request that has arrived whole, and threads only wait for what is on its way: that costs
    less, but a request that waits for a database or another server holds up its worker."""

    database_url: str
    """SQLAlchemy's URL of the database, without a password: `sqlite:////var/lib/bank.db`."""

    database_password: SecretStr | None = None
    """The password that joins `database_url`; SQLite needs none."""

    transport: Literal["plain-http", "tls-in-front"] | None = None
    """`plain-http` for a demonstration, or `tls-in-front` where a proxy ends TLS before us.
    A service does not start without one of the two (RFC 6749 §3.2)."""

    proxies: int = Field(default=0, ge=0, le=8)
    """How many proxies in front are trusted to say scheme, host and client address
    (`X-Forwarded-*`). 0: those headers are ignored."""

    trusted_hosts: CommaSeparated = ("localhost", "127.0.0.1", "[::1]")
    """Host names under which the service answers, without ports, separated by commas; a leading
    dot takes in the sub-domains. Any other name gets 400; health checks are excepted."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is logged."""

    log_requests: LogRequests = "refusals"
    """Which requests are a line of the log, beside the audit trail: the `refusals` alone; each of
    the `arrows` too that a request passes, as in the demonstration; or with each request's method,
    path and status (`access`)."""

    @field_validator("database_url")
    @classmethod
    def _no_password_in_the_url(cls, url: str) -> str:
        try:
            parsed = make_url(url)
            parsed.get_dialect().import_dbapi()
        except ArgumentError as error:
            raise ValueError("must be a database URL as SQLAlchemy takes it") from error
        except ImportError as error:
            raise ValueError(f"needs a driver that is not installed: {error}") from error
        if parsed.password is not None:
            raise ValueError("must hold no password: put it into the secret `database_password`")
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the first wins; only the last may give a secret."""
        del dotenv_settings, file_secret_settings  # theirs are fixed when the class is made
        user = DotEnvSettingsSource(settings_cls, env_file=".env")
        stack = DotEnvSettingsSource(settings_cls, env_file=state_dir() / STACK_SETTINGS_FILE)
        plain = [_WithoutSecrets(settings_cls, source) for source in (env_settings, user, stack)]
        folder = secrets_dir()
        secrets = SecretsSettingsSource(settings_cls, folder if folder.is_dir() else None)
        return (init_settings, *plain, secrets)


class MetricsSettings(ServiceSettings):
    """The settings of a service that counts what it does."""

    metrics_bind: BindAddress | None = None
    """Address and port on which `/metrics` is shown, to whoever can reach it; none: nowhere."""

    @field_validator("metrics_bind")
    @classmethod
    def _not_the_public_port(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address and address.rpartition(":")[2] == info.data.get("bind", "").rpartition(":")[2]:
            raise ValueError("must be another port than the service's own")
        return address


class VaultSettings(ServiceSettings):
    """The settings of a service that uses the key vault."""

    vault: Literal["directory", "openbao", "aws", "azure"] = "directory"
    """Which vault holds the credentials: a `directory`, an `openbao` server (OpenBao or HashiCorp
    Vault), `aws` (AWS Secrets Manager) or `azure` (Azure Key Vault)."""

    vault_directory: Path = Field(default_factory=lambda: state_dir() / "vault")
    """The vault `directory`: a folder with a folder for each entry, which holds a file for each
    field."""

    vault_url: CheckedUrl | None = None
    """The address of the vault's server: `https://vault.example:8200`; of the Key Vault:
    `https://NAME.vault.azure.net`. At `aws` of an endpoint of your own; none: the region's."""

    vault_region: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,64}$")
    """The region of AWS Secrets Manager; none: the one that the platform names."""

    vault_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9/_+=.@-]*$", max_length=256)
    """What the name of an entry's secret begins with at `aws` or `azure`, as `oauth/`."""

    vault_mount: str = Field(
        default="secret", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=256
    )
    """Where the server's KV engine (version 2) is mounted; an entry is a secret below it."""

    vault_role_id: SecretStr | None = None
    """The role id of our AppRole at the vault's server."""

    vault_secret_id: SecretStr | None = None
    """The secret id that goes with the role id."""

    vault_ca_file: CaFile | None = None
    """The CA certificates (PEM) that the server's own is checked against; none: the public ones."""

    @field_validator("vault_url")
    @classmethod
    def _without_a_password_and_protected(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Refuse to send what the vault holds in clear text to another machine."""
        if url is None:
            return url
        protected = is_https_or_loopback(url)
        if "@" in url or "?" in url:
            raise ValueError("must hold no user, password or query")
        if not protected and info.data.get("transport") != "plain-http":
            raise ValueError("must be https, or on this machine, or transport must be plain-http")
        if info.data.get("vault") == "azure" and not url.startswith("https://"):
            raise ValueError("must be https: an Azure Key Vault is asked over nothing else")
        return url

    @field_validator("vault_prefix")
    @classmethod
    def _begins_a_name(cls, prefix: str, info: ValidationInfo) -> str:
        if info.data.get("vault") == "azure" and set(prefix) & set("/_+=.@"):
            raise ValueError("must be of letters, digits and hyphens where the vault is `azure`")
        return prefix

    @field_validator("vault_url", "vault_role_id", "vault_secret_id")
    @classmethod
    def _there_where_it_is_needed(
        cls, value: str | SecretStr | None, info: ValidationInfo
    ) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        vault, is_url = info.data.get("vault"), info.field_name == "vault_url"
        if text or vault not in (("openbao", "azure") if is_url else ("openbao",)):
            return value
        if is_url:
            raise ValueError(f"must be set where the vault is `{vault}`")
        file = secret_file(cls, str(info.field_name))
        raise ValueError(f"the vault `openbao` needs it: put it into the file {file}")


class _WithoutSecrets(PydanticBaseSettingsSource):
    """A source that refuses to give a secret: environments are inherited, listed and logged."""

    def __init__(
        self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource
    ) -> None:
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one field as the source underneath finds it."""
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = self._source()
        for name in values:
            field = self.settings_cls.model_fields.get(name)
            if field is not None and "SecretStr" in str(field.annotation):
                raise SystemExit(
                    f"{setting_name(self.settings_cls, name)} is a secret and cannot come from "
                    f"the environment or a .env file: put it into the file "
                    f"{secret_file(self.settings_cls, name)}"
                )
        return values


def setting_name(settings_class: type[BaseSettings], field: str) -> str:
    """Return the name of ``field`` in the environment, as `AUTH_SERVER_ISSUER`."""
    return f"{settings_class.model_config['env_prefix']}{field}".upper()


def secret_file(settings_class: type[BaseSettings], field: str) -> Path:
    """Return the file in the secrets folder from which ``field`` is read."""
    return secrets_dir() / setting_name(settings_class, field).lower()


Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(settings_class: type[Settings]) -> Settings:
    """Return the settings, read from the sources of this module.

    Raises SystemExit with a line for each bad setting: its name and what is wrong with it. The
    value is not shown, as it may be a secret in the wrong place.
    """
    try:
        return settings_class()
    except SettingsError as error:
        raise SystemExit(f"{settings_class.__name__}: {error}") from error
    except ValidationError as error:
        problems = [
            f"{setting_name(settings_class, '.'.join(map(str, problem['loc'])))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise SystemExit("\n".join(problems)) from error


def require_declared_transport(settings: ServiceSettings) -> None:
    """Stop a service that does not say how its transport is protected (RFC 6749 §3.2).

    Raises SystemExit with the name of the setting.
    """
    if settings.transport is None:
        raise SystemExit(
            f"{setting_name(type(settings), 'transport')}: say `tls-in-front` where a proxy ends "
            "TLS before this service, or `plain-http` for a demonstration on one machine"
        )
