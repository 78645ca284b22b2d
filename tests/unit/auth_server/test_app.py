import importlib
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import auth_server
from auth_server.app import create_app
from tests.unit.auth_server.running import KEY_ENCRYPTION_KEY, Running


@pytest.fixture
def secrets_file(state_dir: Path) -> Path:
    (state_dir / "secrets").mkdir()
    file = state_dir / "secrets" / "auth_server_key_encryption_key"
    file.write_text(KEY_ENCRYPTION_KEY)
    return file


def test_it_is_ready_where_database_and_keys_are(server: Running) -> None:
    assert server.http.get("/readyz").get_json() == {
        "status": "ready",
        "checks": {"database": True, "signing_keys": True},
    }


def test_it_is_not_ready_without_its_keys(make: Callable[..., Running]) -> None:
    server = make()
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE signing_keys")
    assert server.http.get("/readyz").status_code == 503


def test_it_lists_no_endpoint_that_is_not_described(server: Running) -> None:
    rules = {rule.rule for rule in server.app.url_map.iter_rules()}
    assert rules == {
        "/livez",
        "/readyz",
        "/oidc/token",
        "/oidc/introspect",
        "/oidc/revoke",
        "/oidc/jwks",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/openapi.yaml",
    }


def test_without_settings_they_are_read(secrets_file: Path) -> None:
    app = create_app()
    settings = app.extensions["auth_server"].settings
    app.extensions["auth_server"].database.engine.dispose()
    assert settings.issuer == "http://localhost:9000"


def test_without_a_key_encryption_key_there_is_no_application() -> None:
    with pytest.raises(SystemExit, match="auth_server_key_encryption_key is missing"):
        create_app()


def test_wsgi_has_the_application_and_sets_up_the_log(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "shared.service_logging.configure_logging", lambda *given: configured.append(given)
    )
    monkeypatch.delitem(sys.modules, "auth_server.wsgi", raising=False)
    wsgi = importlib.import_module("auth_server.wsgi")
    wsgi.app.extensions["auth_server"].database.engine.dispose()
    assert configured == [("auth_server", "INFO", "refusals")]


def gunicorn_configuration() -> dict[str, object]:
    return runpy.run_path(str(Path(auth_server.__file__).parent / "gunicorn.conf.py"))


def test_gunicorn_takes_the_address_of_the_settings(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTH_SERVER_TRANSPORT", "plain-http")
    monkeypatch.setenv("AUTH_SERVER_BIND", "127.0.0.1:9876")
    assert gunicorn_configuration()["bind"] == "127.0.0.1:9876"


def test_gunicorn_does_not_start_without_a_declared_transport(secrets_file: Path) -> None:
    with pytest.raises(SystemExit, match="AUTH_SERVER_TRANSPORT"):
        gunicorn_configuration()


def test_gunicorn_does_not_start_without_the_key_encryption_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTH_SERVER_TRANSPORT", "plain-http")
    with pytest.raises(SystemExit, match="auth_server_key_encryption_key is missing"):
        gunicorn_configuration()
