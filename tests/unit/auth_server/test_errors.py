import logging
from collections.abc import Callable

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from werkzeug.test import TestResponse

from tests.unit.auth_server.running import Running

GRANT = "grant_type=client_credentials"


def summary(response: TestResponse) -> tuple[int, str, str | None]:
    cached = response.headers.get("Cache-Control")
    return response.status_code, response.get_json()["error"], cached


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_another_method_is_405_with_the_one_that_is_allowed(server: Running, method: str) -> None:
    response = server.http.open("/oidc/token", method=method)
    assert summary(response) == (405, "invalid_request", "no-store")
    assert response.headers["Allow"] == "POST"


def test_head_is_405_too(server: Running) -> None:
    assert server.http.head("/oidc/token").status_code == 405


def test_a_body_that_is_too_large_is_413(server: Running) -> None:
    response = server.post("x=" + "y" * 70_000, authorization=server.basic())
    assert summary(response) == (413, "invalid_request", "no-store")


def test_another_host_is_400(server: Running) -> None:
    response = server.http.post("/oidc/token", data=GRANT, headers={"Host": "evil.example"})
    assert summary(response) == (400, "invalid_request", "no-store")


@pytest.mark.parametrize("path", ["/", "/oidc/token/", "/oidc/token%00", "/oidc/introspect/"])
def test_an_unknown_path_is_404_and_no_refusal(
    server: Running, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.INFO)
    assert summary(server.http.get(path)) == (404, "not_found", None)
    assert "refused" not in caplog.text


def test_what_http_refuses_at_the_token_endpoint_is_recorded(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.http.get("/oidc/token")
    events = [r.__dict__["event"] for r in caplog.records if r.name == "shared.arrows"]
    assert [event["status"] for event in events] == [405]


def failing_with(server: Running, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("auth_server.token_endpoint.token_form", fail)


def test_a_bug_is_500_without_a_word_about_it(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing_with(server, RuntimeError("inner matter"), monkeypatch)
    response = server.ask()
    assert summary(response) == (500, "server_error", "no-store")
    assert b"inner matter" not in response.data
    assert "inner matter" in caplog.text


def test_without_its_database_the_server_is_unavailable(make: Callable[..., Running]) -> None:
    server = make()
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE client_secrets")
    response = server.ask()
    assert summary(response) == (503, "temporarily_unavailable", "no-store")
    assert response.headers["Retry-After"] == "2"


def test_without_keys_that_it_can_open_the_server_is_unavailable(
    make: Callable[..., Running],
) -> None:
    server = make(key_encryption_key=SecretStr(Fernet.generate_key().decode()))
    response = server.ask()
    assert summary(response) == (503, "temporarily_unavailable", "no-store")
    assert response.headers["Retry-After"] == "2"


def test_every_answer_of_the_token_endpoint_is_kept_by_nobody(server: Running) -> None:
    answers = [server.ask(), server.post(GRANT), server.http.get("/oidc/token")]
    kept = [(one.headers["Cache-Control"], one.headers["Pragma"]) for one in answers]
    assert kept == [("no-store", "no-cache")] * 3
