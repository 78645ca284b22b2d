import logging
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from auth_server.issued_tokens import InactiveTokenError, IssuedTokens
from tests.unit.auth_server.running import Running

PATH = "/oidc/revoke"


def revoke(
    server: Running, token: str, *more: tuple[str, str], authorization: str | None = None
) -> TestResponse:
    body = urlencode([("token", token), *more])
    return server.post(body, authorization=authorization or server.basic(), path=PATH)


def access_token(server: Running) -> str:
    return str(server.ask().get_json()["access_token"])


def is_active(server: Running, token: str) -> bool:
    parts = server.parts
    try:
        IssuedTokens(
            parts.settings.issuer, parts.keys, parts.database, server.clock
        ).claims_of_active(token)
    except InactiveTokenError:
        return False
    return True


def test_a_client_ends_a_token_of_its_own(server: Running) -> None:
    token, other = access_token(server), access_token(server)
    answer = revoke(server, token)
    assert (answer.status_code, answer.data) == (200, b"")
    assert (is_active(server, token), is_active(server, other)) == (False, True)


def test_a_token_that_was_revoked_can_be_revoked_again(server: Running) -> None:
    token = access_token(server)
    assert [revoke(server, token).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("token", ["x", "a.b.c", "\x00", "é", "." * 60_000])
def test_what_is_no_token_is_200_as_there_is_nothing_to_end(server: Running, token: str) -> None:
    assert revoke(server, token).status_code == 200


def test_an_expired_token_is_200(server: Running) -> None:
    token = access_token(server)
    server.clock.time += 300
    assert revoke(server, token).status_code == 200


def test_an_id_token_is_200_and_not_revoked(server: Running) -> None:
    answer = server.ask(("scope", "openid")).get_json()
    assert revoke(server, answer["id_token"]).status_code == 200
    assert is_active(server, answer["access_token"]) is True


def test_the_token_of_another_client_is_refused_and_stays_active(server: Running) -> None:
    token = access_token(server)
    made = server.parts.registry.clients.add(
        "other", authentication_method="client_secret_basic", may_have_id_token=True
    )
    answer = revoke(server, token, authorization=server.basic("other", made.secret))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")
    assert is_active(server, token) is True


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", "\x00"])
def test_the_hint_is_ignored(server: Running, hint: str) -> None:
    token = access_token(server)
    answer = revoke(server, token, ("token_type_hint", hint))
    assert (answer.status_code, is_active(server, token)) == (200, False)


def test_who_does_not_authenticate_ends_nothing(server: Running) -> None:
    token = access_token(server)
    answers = [
        server.post(urlencode({"token": token}), path=PATH),
        revoke(server, token, authorization=server.basic("worker", "wrong")),
        revoke(server, token, authorization=f"Bearer {token}"),
    ]
    refusals = [(answer.status_code, answer.get_json()["error"]) for answer in answers]
    assert refusals == [(401, "invalid_client")] * 3
    assert is_active(server, token) is True


@pytest.mark.parametrize(
    ("body", "query"),
    [("", ""), ("token=", ""), ("token=a&token=b", ""), ("token=%FF", ""), ("token=a", "token=a"),
     ("", "token=a"), ("token=a", "client_secret=x")],
)  # fmt: skip
def test_a_malformed_request_is_400(server: Running, body: str, query: str) -> None:
    answer = server.post(body, authorization=server.basic(), path=f"{PATH}?{query}")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_a_token_is_ended_by_post_alone(server: Running) -> None:
    answer = server.http.get(PATH)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_an_answer_is_kept_by_nobody_and_has_no_type(server: Running) -> None:
    answer = revoke(server, "x")
    assert (answer.headers["Cache-Control"], answer.headers.get("Content-Type")) == (
        "no-store",
        None,
    )


def test_no_arrow_passes_and_the_log_has_no_token(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    token = access_token(server)
    caplog.set_level(logging.INFO)
    caplog.clear()
    revoke(server, token)
    revoke(server, token)
    assert [record.getMessage() for record in caplog.records] == [
        "revoke: revoked",
        "revoke: nothing to revoke because it was revoked",
    ]
    assert {record.__dict__["event"]["client_id"] for record in caplog.records} == {"worker"}
    assert token not in caplog.text
