from pathlib import Path

import pytest

from auth_server.settings import AuthServerSettings
from shared.settings import read_settings


def test_the_defaults_are_those_of_the_local_stack(state_dir: Path) -> None:
    settings = AuthServerSettings()
    assert settings.bind == "127.0.0.1:9000"
    assert settings.issuer == "http://localhost:9000"
    assert settings.database_url == f"sqlite:///{state_dir / 'auth_server.db'}"
    assert settings.vault_directory == state_dir / "vault"
    assert settings.access_token_lifetime_seconds == 300


def test_the_key_encryption_key_is_read_from_its_file(state_dir: Path) -> None:
    (state_dir / "secrets").mkdir()
    (state_dir / "secrets" / "auth_server_key_encryption_key").write_text("one\ntwo\n")
    key = read_settings(AuthServerSettings).key_encryption_key
    assert key is not None
    assert key.get_secret_value().split() == ["one", "two"]


def test_the_key_encryption_key_cannot_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTH_SERVER_KEY_ENCRYPTION_KEY", "hidden")
    with pytest.raises(SystemExit, match="is a secret"):
        read_settings(AuthServerSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ISSUER", "http://localhost:9000/"), ("ISSUER", "localhost"), ("BIND", "9000"),
     ("ACCESS_TOKEN_ALGORITHM", "HS256"), ("ACCESS_TOKEN_ALGORITHM", "none"),
     ("ACCESS_TOKEN_LIFETIME_SECONDS", "0"), ("ACCESS_TOKEN_LIFETIME_SECONDS", "86400")],
)  # fmt: skip
def test_a_bad_setting_stops_the_service_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AUTH_SERVER_{name}", value)
    with pytest.raises(SystemExit, match=f"AUTH_SERVER_{name}: "):
        read_settings(AuthServerSettings)
