import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import (
    IssuerUrl,
    ServiceSettings,
    read_settings,
    require_declared_transport,
)


class BankSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="BANK_")

    bind: str = "127.0.0.1:9001"
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
