import importlib
import runpy
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from pydantic import SecretStr
from sqlalchemy import text

import resource_server
from resource_server.app import fetch_keys_early
from resource_server.token_validation import EXTENSION, TokenCheck, TokenValidator
from shared.database import Database
from tests.stack.issuer import JWKS_PATH, METADATA_PATH, OwnIssuer
from tests.stack.loopback import LoopbackServer, Reply


def authorized(issuer: OwnIssuer) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token()}"}


def test_the_bank_is_ready_without_its_issuer(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    issuer.stop()

    assert bank().test_client().get("/readyz").status_code == 200


def test_the_bank_is_not_ready_without_its_tables(
    bank: Callable[..., Flask], tmp_path: Path
) -> None:
    app = bank(database_url=f"sqlite:///{tmp_path / 'empty.db'}")

    assert app.test_client().get("/readyz").status_code == 503


def test_without_its_database_the_bank_answers_503(
    bank: Callable[..., Flask], issuer: OwnIssuer, database: Database
) -> None:
    app = bank()
    with database.writing() as session:
        session.execute(text("DROP TABLE account_access"))
    answer = app.test_client().get("/account", headers=authorized(issuer))

    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "2"


def test_without_its_issuer_a_new_bank_answers_503(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    issuer.stop()
    answer = bank().test_client().get("/account", headers=authorized(issuer))

    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) >= 1


def test_with_its_keys_kept_the_bank_works_without_its_issuer(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    client = bank().test_client()
    client.get("/account", headers=authorized(issuer))
    issuer.stop()

    assert client.get("/account", headers=authorized(issuer)).status_code == 200


def test_the_metadata_url_is_asked_where_it_is_set(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    asked, issuer.url = issuer.url, "http://outside.example"
    issuer.metadata_changes = {"jwks_uri": asked + JWKS_PATH}
    app = bank(issuer=issuer.url, metadata_url=asked + METADATA_PATH)

    assert app.test_client().get("/account", headers=authorized(issuer)).status_code == 200


def test_the_settings_reach_the_check(bank: Callable[..., Flask]) -> None:
    app = bank(realm="vault", leeway_seconds=9, algorithms=("ES256",))
    check: TokenCheck = app.extensions[EXTENSION]

    assert check.realm == "vault"
    assert isinstance(check.validator, TokenValidator)
    assert (check.validator.leeway_seconds, check.validator.algorithms) == (9, ("ES256",))


@pytest.mark.parametrize(("setting", "remembered"), [(1000, 1), (0, 0)], ids=["on", "off"])
def test_verified_tokens_are_remembered_where_the_setting_says_so(
    setting: int, remembered: int, bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    app = bank(remembered_tokens=setting)
    app.test_client().get("/account", headers=authorized(issuer))

    assert len(app.extensions[EXTENSION].validator.remembered) == remembered


def test_where_the_setting_says_so_the_issuer_is_asked_about_each_token(
    bank: Callable[..., Flask],
) -> None:
    with LoopbackServer() as server:
        said = {"active": True, "client_id": "own-client", "scope": "Read"}
        metadata = {"issuer": server.url, "introspection_endpoint": f"{server.url}/introspect"}
        server.reply(METADATA_PATH, Reply(document=metadata))
        server.reply("/introspect", Reply(document=said))
        app = bank(
            token_check="introspection",
            issuer=server.url,
            introspection_client_id="bank",
            introspection_client_secret=SecretStr("secret"),
        )
        fetch_keys_early(app)
        headers = {"Authorization": "Bearer opaque"}
        answers = [app.test_client().get("/account", headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert server.paths() == [METADATA_PATH, "/introspect", "/introspect"]
    assert "traceparent" in server.asked[1].headers


def test_the_keys_can_be_fetched_before_the_first_request(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    app = bank()
    fetch_keys_early(app)
    deadline = time.monotonic() + 20

    while issuer.fetches[JWKS_PATH] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert issuer.fetches == {METADATA_PATH: 1, JWKS_PATH: 1}


@pytest.mark.parametrize("path", ["/nope", "/account/", "/accounts//x", "/accounts/"])
def test_a_path_that_is_not_ours_is_404_and_no_redirect(
    path: str, bank: Callable[..., Flask]
) -> None:
    assert bank().test_client().get(path).status_code == 404


def test_another_hosts_name_is_refused(bank: Callable[..., Flask]) -> None:
    answer = bank().test_client().get("/account", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")


def test_wsgi_makes_the_bank_of_the_settings_that_are_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESOURCE_SERVER_REALM", "of-the-environment")
    monkeypatch.setattr("shared.service_logging.configure_logging", lambda *_: None)
    early: list[Flask] = []
    monkeypatch.setattr("resource_server.app.fetch_keys_early", early.append)
    wsgi = importlib.import_module("resource_server.wsgi")
    wsgi = importlib.reload(wsgi)

    assert wsgi.app.extensions[EXTENSION].realm == "of-the-environment"
    assert early[-1] is wsgi.app


def test_gunicorn_does_not_start_without_a_declared_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Path(resource_server.__file__).parent / "gunicorn.conf.py"
    with pytest.raises(SystemExit, match="RESOURCE_SERVER_TRANSPORT"):
        runpy.run_path(str(file))
    monkeypatch.setenv("RESOURCE_SERVER_TRANSPORT", "plain-http")

    assert runpy.run_path(str(file))["bind"] == "127.0.0.1:9001"
