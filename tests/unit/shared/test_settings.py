import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import (
    BindAddress,
    IssuerUrl,
    ServiceSettings,
    VaultSettings,
    read_settings,
    require_declared_transport,
)


class BankSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="BANK_")

    bind: BindAddress = "127.0.0.1:9001"
    database_url: str = "sqlite:///bank.db"
    issuer: IssuerUrl = "http://localhost:9000"
    api_key: SecretStr | None = None


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCAL_STATE_DIR", str(tmp_path))
    return tmp_path


def test_the_environment_wins_over_the_file_of_the_local_stack(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "stack.env").write_text("BANK_WORKERS=3\nBANK_THREADS=5\nAUTH_SERVER_WORKERS=9\n")
    monkeypatch.setenv("BANK_WORKERS", "7")

    settings = read_settings(BankSettings)

    assert (settings.workers, settings.threads) == (7, 5)


def test_a_secret_is_read_from_its_file(state: Path) -> None:
    (state / "secrets").mkdir()
    (state / "secrets" / "bank_api_key").write_text("s3cret\n")

    settings = read_settings(BankSettings)

    assert settings.api_key == SecretStr("s3cret")
    assert "s3cret" not in repr(settings)


def test_a_secret_in_the_environment_stops_the_service_with_its_name_and_its_file(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_API_KEY", "s3cret")

    with pytest.raises(SystemExit) as stopped:
        read_settings(BankSettings)

    assert "BANK_API_KEY is a secret" in str(stopped.value)
    assert str(state / "secrets" / "bank_api_key") in str(stopped.value)
    assert "s3cret" not in str(stopped.value)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param("BANK_WORKERS", "many", "integer", id="no number"),
        pytest.param("BANK_WORKERS", "0", "greater than or equal to 1", id="out of bounds"),
        pytest.param("BANK_ISSUER", "localhost:9000", "must be an absolute URL", id="no scheme"),
        pytest.param("BANK_ISSUER", "http://localhost:9000/", "end in a slash", id="slash"),
        pytest.param("BANK_ISSUER", "http://localhost?a=b", "no query", id="query"),
        pytest.param("BANK_ISSUER", "https://a#b", "no fragment", id="fragment"),
        pytest.param("BANK_ISSUER", "http://[foo", "is no URL", id="half a bracket"),
        pytest.param("BANK_ISSUER", "http://a:b", "is no URL", id="no port"),
        pytest.param("BANK_ISSUER", "http://:80", "must name a host", id="no host"),
        pytest.param("BANK_BIND", "127.0.0.1:99999", "an address and a port", id="high port"),
        pytest.param("BANK_BIND", "9000", "an address and a port", id="port alone"),
        pytest.param("BANK_DATABASE_URL", "foo://x", "database URL", id="no such database"),
        pytest.param("BANK_DATABASE_URL", "mysql://h/d", "driver", id="no driver"),
        pytest.param("BANK_TRANSPORT", "open", "plain-http", id="no such word"),
        pytest.param("BANK_DATABASE_URL", "bank.db", "database URL", id="no database URL"),
        pytest.param("BANK_DATABASE_URL", "postgresql://a:pass@db/x", "must hold no password",
                     id="password in URL"),
    ],
)  # fmt: skip
def test_a_bad_setting_stops_the_service_with_its_name_and_what_is_wrong(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as stopped:
        read_settings(BankSettings)

    assert str(stopped.value).startswith(f"{name}: ")
    assert problem in str(stopped.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings(BankSettings).workers = 5


def test_a_list_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_TRUSTED_HOSTS", "localhost, .example.com,")

    assert read_settings(BankSettings).trusted_hosts == ("localhost", ".example.com")


def test_a_service_that_does_not_declare_its_transport_does_not_start() -> None:
    with pytest.raises(SystemExit, match="BANK_TRANSPORT"):
        require_declared_transport(read_settings(BankSettings))


def test_a_service_that_declares_its_transport_starts() -> None:
    require_declared_transport(BankSettings(transport="tls-in-front"))

    assert "BANK_TRANSPORT" not in os.environ


class TellerSettings(VaultSettings):
    model_config = SettingsConfigDict(env_prefix="TELLER_")

    bind: str = "127.0.0.1:9003"
    database_url: str = "sqlite:///teller.db"


VAULT_URL = "https://vault.example:8200"


@pytest.fixture
def vault_secrets(state: Path) -> Path:
    secrets = state / "secrets"
    secrets.mkdir()
    (secrets / "teller_vault_role_id").write_text("role-5f1c\n")
    (secrets / "teller_vault_secret_id").write_text("s3cret-id\n")
    return secrets


def test_the_vault_is_a_directory_unless_a_setting_says_otherwise(state: Path) -> None:
    settings = read_settings(TellerSettings)

    assert (settings.vault, settings.vault_directory) == ("directory", state / "vault")


def test_role_id_and_secret_id_of_the_vault_are_read_from_files(
    vault_secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_VAULT", "openbao")
    monkeypatch.setenv("TELLER_VAULT_URL", VAULT_URL)

    settings = read_settings(TellerSettings)

    assert settings.vault_role_id == SecretStr("role-5f1c")
    assert settings.vault_secret_id == SecretStr("s3cret-id")
    assert (settings.vault_url, settings.vault_mount) == (VAULT_URL, "secret")


@pytest.mark.parametrize("vault", ["openbao", "azure"])
def test_a_vault_on_a_server_without_its_url_stops_the_service(
    vault: str, vault_secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_VAULT", vault)

    with pytest.raises(SystemExit, match=rf"^TELLER_VAULT_URL: .*must be set .* is `{vault}`"):
        read_settings(TellerSettings)


def test_aws_needs_neither_a_url_nor_a_secret_of_ours(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_VAULT", "aws")
    monkeypatch.setenv("TELLER_VAULT_REGION", "eu-central-1")
    monkeypatch.setenv("TELLER_VAULT_PREFIX", "oauth/")

    settings = read_settings(TellerSettings)

    assert (settings.vault, settings.vault_url) == ("aws", None)
    assert (settings.vault_region, settings.vault_prefix) == ("eu-central-1", "oauth/")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param("VAULT_URL", "http://127.0.0.1:8443", "must be https", id="plain http"),
        pytest.param("VAULT_PREFIX", "oauth/", "letters, digits and hyphens", id="slash"),
        pytest.param("VAULT_PREFIX", "a_", "letters, digits and hyphens", id="underscore"),
    ],
)
def test_what_azure_does_not_take_stops_the_service(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_VAULT", "azure")
    monkeypatch.setenv("TELLER_VAULT_URL", "https://bank.vault.azure.net")
    monkeypatch.setenv(f"TELLER_{name}", value)

    with pytest.raises(SystemExit) as stopped:
        read_settings(TellerSettings)

    assert str(stopped.value).startswith(f"TELLER_{name}: ")
    assert problem in str(stopped.value)


@pytest.mark.parametrize("field", ["vault_role_id", "vault_secret_id"])
@pytest.mark.parametrize("content", [None, "\n"], ids=["no file", "empty file"])
def test_an_openbao_vault_without_role_id_or_secret_id_stops_the_service(
    field: str, content: str | None, vault_secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_VAULT", "openbao")
    monkeypatch.setenv("TELLER_VAULT_URL", VAULT_URL)
    file = vault_secrets / f"teller_{field}"
    file.unlink()
    if content is not None:
        file.write_text(content)

    with pytest.raises(SystemExit) as stopped:
        read_settings(TellerSettings)

    assert str(stopped.value).startswith(f"TELLER_{field.upper()}: ")
    assert str(file) in str(stopped.value)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param("VAULT", "file", "'openbao'", id="no such vault"),
        pytest.param("VAULT_URL", "vault:8200", "absolute URL", id="no URL"),
        pytest.param("VAULT_URL", "http://openbao:8200", "must be https", id="plain http"),
        pytest.param("VAULT_URL", "https://a:p4ss@vault", "no user, password", id="password"),
        pytest.param("VAULT_URL", "https://vault:port", "Port", id="no port"),
        pytest.param("VAULT_MOUNT", "../sys", "pattern", id="mount"),
        pytest.param("VAULT_REGION", "eu central", "pattern", id="region"),
        pytest.param("VAULT_PREFIX", "oauth bank", "pattern", id="prefix"),
        pytest.param("VAULT_CA_FILE", "/nowhere/ca.pem", "CA certificates", id="no CA file"),
        pytest.param("VAULT_CA_FILE", __file__, "CA certificates", id="no CA in the file"),
    ],
)
def test_a_bad_vault_setting_stops_the_service_with_its_name(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TELLER_{name}", value)

    with pytest.raises(SystemExit) as stopped:
        read_settings(TellerSettings)

    assert str(stopped.value).startswith(f"TELLER_{name}: ")
    assert problem in str(stopped.value)
    assert "p4ss" not in str(stopped.value)


@pytest.mark.parametrize(
    ("url", "transport"),
    [("http://openbao:8200", "plain-http"), ("http://127.0.0.1:8200", None)],
    ids=["declared", "loopback"],
)
def test_plain_http_to_the_vault_is_for_this_machine_or_declared(
    url: str, transport: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_VAULT_URL", url)
    if transport:
        monkeypatch.setenv("TELLER_TRANSPORT", transport)

    assert read_settings(TellerSettings).vault_url == url
