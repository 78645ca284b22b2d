import pytest

from resource_server.settings import ResourceServerSettings
from shared.settings import read_settings, state_dir


def test_without_any_setting_the_bank_is_the_local_stacks() -> None:
    settings = read_settings(ResourceServerSettings)

    assert (settings.bind, settings.issuer, settings.resource) == (
        "127.0.0.1:9001",
        "http://localhost:9000",
        "http://localhost:9001",
    )
    assert settings.database_url == f"sqlite:///{state_dir() / 'resource_server.db'}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("ISSUER", "https://issuer.example/", id="issuer-with-a-slash-at-its-end"),
        pytest.param("METADATA_URL", "auth-server:9000", id="metadata-url-without-scheme"),
        pytest.param("RESOURCE", "urn:bank", id="resource-that-is-no-url"),
        pytest.param("RESOURCE", 'https://bank.example/"', id="resource-with-a-quote"),
        pytest.param("RESOURCE", "https://bank.example/<id>", id="resource-with-brackets"),
        pytest.param("TOKEN_CHECK", "none", id="unknown-token-check"),
        pytest.param("REMEMBERED_TOKENS", "-1", id="remembering-less-than-nothing"),
        pytest.param("RESOURCE_NAME", "", id="resource-name-that-is-empty"),
        pytest.param("RESOURCE_DOCUMENTATION", "docs", id="documentation-that-is-no-url"),
        pytest.param("REALM", 'the "bank"', id="realm-with-quotes"),
        pytest.param("REALM", "bänk", id="realm-beyond-ascii"),
        pytest.param("REALM", "", id="realm-that-is-empty"),
        pytest.param("ALGORITHMS", '["none"]', id="algorithm-none"),
        pytest.param("ALGORITHMS", '["HS256"]', id="algorithm-of-shared-secrets"),
        pytest.param("ALGORITHMS", "[]", id="no-algorithm"),
        pytest.param("LEEWAY_SECONDS", "-1", id="negative-leeway"),
        pytest.param("KEY_CACHE_MAX_SECONDS", "10", id="maximum-below-minimum"),
        pytest.param("BIND", "9001", id="bind-without-address"),
    ],
)
def test_a_bad_setting_stops_the_bank_with_the_settings_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RESOURCE_SERVER_{name}", value)

    with pytest.raises(SystemExit, match=f"RESOURCE_SERVER_{name}"):
        read_settings(ResourceServerSettings)


@pytest.mark.parametrize("name", ["ISSUER", "METADATA_URL"], ids=str.lower)
def test_behind_tls_the_issuer_is_not_asked_over_plain_http(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESOURCE_SERVER_TRANSPORT", "tls-in-front")
    monkeypatch.setenv("RESOURCE_SERVER_ISSUER", "https://issuer.example")
    monkeypatch.setenv(f"RESOURCE_SERVER_{name}", "http://issuer.example")

    with pytest.raises(SystemExit, match=f"RESOURCE_SERVER_{name}: .*https"):
        read_settings(ResourceServerSettings)


def test_behind_tls_an_https_issuer_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESOURCE_SERVER_TRANSPORT", "tls-in-front")
    monkeypatch.setenv("RESOURCE_SERVER_ISSUER", "https://issuer.example")

    assert read_settings(ResourceServerSettings).issuer == "https://issuer.example"


def test_introspection_needs_a_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESOURCE_SERVER_TOKEN_CHECK", "introspection")

    with pytest.raises(SystemExit, match=r"RESOURCE_SERVER_INTROSPECTION_CLIENT_ID: .*must be set"):
        read_settings(ResourceServerSettings)


def test_introspection_needs_a_secret_and_says_in_which_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESOURCE_SERVER_TOKEN_CHECK", "introspection")
    monkeypatch.setenv("RESOURCE_SERVER_INTROSPECTION_CLIENT_ID", "bank")
    file = state_dir() / "secrets" / "resource_server_introspection_client_secret"

    with pytest.raises(SystemExit, match=f"needs it: put it into the file {file}"):
        read_settings(ResourceServerSettings)
    file.parent.mkdir(parents=True)
    file.write_text("secret")
    secret = read_settings(ResourceServerSettings).introspection_client_secret
    assert secret is not None
    assert secret.get_secret_value() == "secret"


def test_the_secret_for_introspection_cannot_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESOURCE_SERVER_INTROSPECTION_CLIENT_SECRET", "secret")

    with pytest.raises(SystemExit, match="cannot come from the environment"):
        read_settings(ResourceServerSettings)
