from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from client_service.settings import ClientServiceSettings
from shared.settings import read_settings


def test_without_any_setting_they_point_at_the_local_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_STATE_DIR", str(tmp_path))

    settings = read_settings(ClientServiceSettings)

    assert settings.bind == "127.0.0.1:9002"
    assert settings.issuer == "http://localhost:9000"
    assert settings.api_url + settings.account_path == "http://localhost:9001/account"
    assert settings.database_url == f"sqlite:///{tmp_path}/client_service.db"
    assert settings.vault_directory == tmp_path / "vault"


@pytest.mark.parametrize("name", ["issuer", "metadata_url", "token_url", "api_url"])
def test_plain_http_to_another_machine_must_be_declared(name: str) -> None:
    values: dict[str, Any] = {name: "http://auth.example"}
    with pytest.raises(ValidationError, match="must be https"):
        ClientServiceSettings(**values)

    declared = ClientServiceSettings(**values, transport="plain-http")
    assert getattr(declared, name) == "http://auth.example"


@pytest.mark.parametrize("name", ["issuer", "metadata_url", "token_url", "api_url"])
def test_https_needs_no_declaration(name: str) -> None:
    values: dict[str, Any] = {name: "https://x.example"}

    assert getattr(ClientServiceSettings(**values), name) == "https://x.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ISSUER", "https://auth.example/"),
        ("SCOPE", 'Read "Write"'),
        ("SCOPE", ""),
        ("SCOPE", "Read  Write"),
        ("AUTH_METHOD", "none"),
        ("VAULT_ENTRY", "../secrets"),
        ("ACCOUNT_PATH", "account"),
        ("ACCOUNT_PATH", "/account?x"),
        ("RECONCILE_SCHEDULE", "every 0s"),
        ("RECONCILE_SCHEDULE", "60 * * * *"),
        ("RECONCILE_SCHEDULE", "0 0 30 FEB *"),
        ("TIME_ZONE", "Europe/Nowhere"),
        ("TIME_ZONE", "../etc/passwd"),
        ("HISTORY_DAYS", "0"),
        ("LEASE_SECONDS", "0"),
        ("DEFAULT_TOKEN_LIFETIME", "0"),
        ("RESOURCE", "bank"),
        ("TOKEN_RETRY_SECONDS", "-1"),
        ("CA_FILE", "/nowhere.pem"),
    ],
)
def test_a_bad_setting_stops_the_service_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CLIENT_SERVICE_{name}", value)

    with pytest.raises(SystemExit, match=f"^CLIENT_SERVICE_{name}: "):
        read_settings(ClientServiceSettings)


@pytest.mark.parametrize("text", ["", "x" * 31, f" {'x' * 31}\n"], ids=["none", "short", "padded"])
def test_a_control_token_that_can_be_guessed_stops_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "client_service_control_token").write_text(text)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))

    with pytest.raises(SystemExit, match=r"^CLIENT_SERVICE_CONTROL_TOKEN: .*32 characters"):
        read_settings(ClientServiceSettings)
