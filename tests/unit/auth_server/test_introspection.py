import logging
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from tests.unit.auth_server.running import BANK, LEDGER, START, Running

PATH = "/oidc/introspect"
INACTIVE = {"active": False}


@pytest.fixture
def bank(server: Running) -> str:
    """The header by which the bank, a resource server, authenticates."""
    return registered(server, "bank", BANK)


def registered(server: Running, name: str, introspects: str | None) -> str:
    made = server.parts.registry.clients.add(
        name,
        scopes=(),
        authentication_method="client_secret_basic",
        may_have_id_token=False,
        introspects=introspects,
    )
    return server.basic(name, made.secret)


def ask(server: Running, authorization: str, token: str, *more: tuple[str, str]) -> TestResponse:
    body = urlencode([("token", token), *more])
    return server.post(body, authorization=authorization, path=PATH)


def access_token(server: Running, *parameters: tuple[str, str]) -> str:
    return str(server.ask(*parameters).get_json()["access_token"])


def told(answer: TestResponse) -> tuple[int, Any]:
    return answer.status_code, answer.get_json()


def test_of_an_active_token_the_bank_hears_what_it_says(server: Running, bank: str) -> None:
    status, said = told(ask(server, bank, access_token(server, ("scope", "openid Read"))))
    jti = said.pop("jti")
    assert (status, len(jti)) == (200, 22)
    assert said == {
        "active": True,
        "token_type": "Bearer",
        "scope": "Read",
        "client_id": "worker",
        "exp": int(START) + 300,
        "iat": int(START),
        "sub": "worker",
        "aud": BANK,
        "iss": "http://localhost:9000",
    }


def test_a_claim_that_is_not_the_banks_business_is_not_told(server: Running, bank: str) -> None:
    claims = {"iss": "http://localhost:9000", "exp": int(START) + 9, "aud": BANK, "jti": "j"}
    more = {"client_id": "worker", "secret_note": "x", "nbf": int(START)}
    token = server.parts.keys.sign("RS256", "at+jwt", {**claims, **more})
    said = ask(server, bank, token).get_json()
    assert sorted(said) == [
        "active", "aud", "client_id", "exp", "iss", "jti", "nbf", "token_type",
    ]  # fmt: skip


def test_a_token_for_another_resource_is_not_active(server: Running, bank: str) -> None:
    server.parts.registry.clients.grant("worker", resource=LEDGER)
    token = access_token(server, ("resource", LEDGER))
    ledger = registered(server, "ledger", LEDGER)
    assert told(ask(server, bank, token)) == (200, INACTIVE)
    assert ask(server, ledger, token).get_json()["active"] is True


def test_an_expired_token_is_not_active_and_nothing_else_is_said(
    server: Running, bank: str
) -> None:
    token = access_token(server)
    server.clock.time += 300
    assert told(ask(server, bank, token)) == (200, INACTIVE)


def test_a_revoked_token_is_not_active(server: Running, bank: str) -> None:
    token = access_token(server)
    server.post(urlencode({"token": token}), authorization=server.basic(), path="/oidc/revoke")
    assert told(ask(server, bank, token)) == (200, INACTIVE)


def test_a_token_of_a_disabled_client_is_not_active(server: Running, bank: str) -> None:
    token = access_token(server)
    server.parts.registry.clients.disable("worker")
    assert told(ask(server, bank, token)) == (200, INACTIVE)


@pytest.mark.parametrize("text", ["x", "a.b.c", "\x00", "é", "." * 60_000])
def test_of_any_text_it_is_said_that_it_is_not_active(
    server: Running, bank: str, text: str
) -> None:
    assert told(ask(server, bank, text)) == (200, INACTIVE)


def test_an_id_token_is_not_active(server: Running, bank: str) -> None:
    id_token = server.ask(("scope", "openid")).get_json()["id_token"]
    assert told(ask(server, bank, id_token)) == (200, INACTIVE)


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", "\x00"])
def test_the_hint_is_ignored(server: Running, bank: str, hint: str) -> None:
    answer = ask(server, bank, access_token(server), ("token_type_hint", hint))
    assert answer.get_json()["active"] is True


def test_an_answer_is_kept_by_nobody(server: Running, bank: str) -> None:
    answers = [ask(server, bank, "x"), ask(server, bank, access_token(server)), server.post("")]
    answers.append(server.post("", path=PATH))
    kept = [answer.headers["Cache-Control"] for answer in answers]
    assert kept == ["no-store"] * 4


def test_a_client_that_is_no_resource_server_may_look_into_no_token(server: Running) -> None:
    own = ask(server, server.basic(), access_token(server))
    other = ask(server, server.basic(), "x")
    assert told(own) == told(other)
    assert (own.status_code, own.get_json()["error"]) == (403, "unauthorized_client")


def test_a_disabled_resource_server_is_told_nothing(server: Running, bank: str) -> None:
    server.parts.registry.clients.disable("bank")
    answer = ask(server, bank, access_token(server))
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_who_does_not_authenticate_gets_401_and_a_challenge(server: Running) -> None:
    token = access_token(server)
    answers = [
        server.post(urlencode({"token": token}), path=PATH),
        ask(server, server.basic("bank", "wrong"), token),
        ask(server, f"Bearer {token}", token),
    ]
    assert [answer.get_json()["error"] for answer in answers] == ["invalid_client"] * 3
    assert [answer.headers["WWW-Authenticate"].split()[0] for answer in answers] == ["Basic"] * 3


@pytest.mark.parametrize(
    ("body", "query"),
    [("", ""), ("token=", ""), ("token=a&token=b", ""), ("token=%FF", ""), ("token=a", "token=a"),
     ("", "token=a"), ("token=a", "client_secret=x")],
)  # fmt: skip
def test_a_malformed_request_is_400(server: Running, bank: str, body: str, query: str) -> None:
    answer = server.post(body, authorization=bank, path=f"{PATH}?{query}")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_the_credentials_may_stand_in_the_body(server: Running) -> None:
    secret = server.parts.registry.clients.add(
        "bank",
        scopes=(),
        authentication_method="client_secret_post",
        may_have_id_token=False,
        introspects=BANK,
    ).secret
    form = {"token": access_token(server), "client_id": "bank", "client_secret": secret}
    assert server.post(urlencode(form), path=PATH).get_json()["active"] is True


def test_a_token_is_asked_for_by_post_alone(server: Running) -> None:
    answer = server.http.get(PATH)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_resource_server_without_scopes_gets_no_token(server: Running, bank: str) -> None:
    answer = server.ask(authorization=bank)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "unauthorized_client")


def test_no_arrow_passes_and_the_log_has_no_token(
    server: Running, bank: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = access_token(server)
    caplog.set_level(logging.INFO)
    caplog.clear()
    ask(server, bank, token)
    ask(server, bank, "some text")
    assert [record.getMessage() for record in caplog.records] == [
        "introspect: active",
        "introspect: inactive because it is no well-formed JWT",
    ]
    events = [record.__dict__["event"] for record in caplog.records]
    assert [event["client_id"] for event in events] == ["bank", "bank"]
    assert events[0]["token_client_id"] == "worker"
    assert token not in caplog.text


def test_without_its_database_the_server_says_neither(server: Running, bank: str) -> None:
    token = access_token(server)
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE revoked_tokens")
    answer = ask(server, bank, token)
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
