from pathlib import Path
from typing import Literal

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
     ("ACCESS_TOKEN_LIFETIME_SECONDS", "0"), ("ACCESS_TOKEN_LIFETIME_SECONDS", "86400"),
     ("CLIENT_ASSERTION_LONGEST_LIFETIME_SECONDS", "0"), ("JWKS_URI_TIMEOUT_SECONDS", "0"),
     ("ACCESS_TOKEN_LIFETIME_MAX_SECONDS", "299"), ("METRICS_BIND", "0.0.0.0:9000")],
)  # fmt: skip
def test_a_bad_setting_stops_the_service_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AUTH_SERVER_{name}", value)
    with pytest.raises(SystemExit, match=f"AUTH_SERVER_{name}: "):
        read_settings(AuthServerSettings)


def test_further_audiences_of_assertions_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTH_SERVER_CLIENT_ASSERTION_AUDIENCES", "https://a/token, https://b")
    assert AuthServerSettings().client_assertion_audiences == ("https://a/token", "https://b")


def test_of_several_audiences_the_bad_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_SERVER_CLIENT_ASSERTION_AUDIENCES", "https://a/token,no URL")
    with pytest.raises(SystemExit, match=r"AUTH_SERVER_CLIENT_ASSERTION_AUDIENCES\.1: "):
        read_settings(AuthServerSettings)


@pytest.mark.parametrize(
    ("transport", "may_be_internal", "may_be_plain_http"),
    [("plain-http", True, True), ("plain-http", False, False), ("tls-in-front", True, False)],
)
def test_keys_are_fetched_by_plain_http_where_both_settings_say_so(
    transport: Literal["plain-http", "tls-in-front"], may_be_internal: bool, may_be_plain_http: bool
) -> None:
    settings = AuthServerSettings(transport=transport, jwks_uri_may_be_internal=may_be_internal)
    assert settings.jwks_uri_may_be_plain_http is may_be_plain_http


@pytest.mark.parametrize(
    "url",
    ["valkey://cache.example", "valkeys://user@cache.example:6380/3", "redis://127.0.0.1:1/",
     "rediss://[::1]:6379/0"],
)  # fmt: skip
def test_failures_may_be_counted_at(url: str) -> None:
    assert AuthServerSettings(throttling_url=url).throttling_url == url


@pytest.mark.parametrize(
    "url",
    ["", "cache.example", "http://cache.example", "valkey://", "valkey://[", "valkey://a:b",
     "valkey://user:s3cret@cache.example", "valkey://:s3cret@cache.example",
     "valkey://cache.example?password=s3cret", "valkey://cache.example#s3cret",
     "valkey://cache.example/s3cret", f"valkey://{'a' * 64}.example", "unix:///run/valkey"],
)  # fmt: skip
def test_a_bad_throttling_url_stops_the_service_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AUTH_SERVER_THROTTLING_URL", url)
    with pytest.raises(SystemExit, match="AUTH_SERVER_THROTTLING_URL: ") as stopped:
        read_settings(AuthServerSettings)
    assert "s3cret" not in str(stopped.value)


def test_without_the_package_of_valkey_its_url_stops_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("auth_server.settings.find_spec", lambda _name: None)
    monkeypatch.setenv("AUTH_SERVER_THROTTLING_URL", "valkey://cache.example")
    with pytest.raises(SystemExit, match="needs the package `valkey`"):
        read_settings(AuthServerSettings)


@pytest.mark.parametrize(
    ("url", "transport", "is_taken"),
    [("valkeys://cache.example", "tls-in-front", True), ("valkey://[::1]", "tls-in-front", True),
     ("valkey://cache.example", "plain-http", True),
     ("valkey://cache.example", "tls-in-front", False)],
)  # fmt: skip
def test_the_password_of_valkey_leaves_this_machine_by_tls_alone(
    monkeypatch: pytest.MonkeyPatch, state_dir: Path, url: str, transport: str, is_taken: bool
) -> None:
    (state_dir / "secrets").mkdir()
    (state_dir / "secrets" / "auth_server_throttling_password").write_text("s3cret\n")
    monkeypatch.setenv("AUTH_SERVER_THROTTLING_URL", url)
    monkeypatch.setenv("AUTH_SERVER_TRANSPORT", transport)
    try:
        password = read_settings(AuthServerSettings).throttling_password
        taken = password is not None and password.get_secret_value() == "s3cret"
    except SystemExit as stopped:
        taken = "AUTH_SERVER_THROTTLING_PASSWORD: " not in str(stopped)
    assert taken is is_taken


def test_many_failures_are_answered_as_usual_by_default() -> None:
    settings = AuthServerSettings()
    assert settings.throttling_failures_per_client == 100
    assert settings.throttling_failures_per_address == 2000
    assert settings.throttling_window_seconds == 60
