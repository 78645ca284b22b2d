import logging
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from werkzeug.test import TestResponse

from auth_server.id_token import at_hash
from auth_server.jwk import SIGNATURES
from tests.unit.auth_server.running import BANK, LEDGER, START, Running

GRANT = "grant_type=client_credentials"


def decoded(server: Running, token: str) -> jwt.Token:
    keys = KeySet.import_key_set(server.http.get("/oidc/jwks").get_json())
    return jwt.decode(token, keys, registry=SIGNATURES)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    found = [r.__dict__["event"] for r in caplog.records if r.name == "shared.arrows"]
    return [(event["outcome"], event.get("arrow", event.get("error"))) for event in found]


def error_of(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]


def test_the_answer_to_openid_has_exactly_five_members(server: Running) -> None:
    answer = server.ask(("scope", "openid")).get_json()
    assert list(answer) == ["access_token", "token_type", "expires_in", "scope", "id_token"]
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)
    assert answer["scope"] == "openid Read Write"


def test_the_answer_without_openid_has_no_id_token(server: Running) -> None:
    answer = server.ask().get_json()
    assert list(answer) == ["access_token", "token_type", "expires_in", "scope"]
    assert answer["scope"] == "Read Write"


def test_the_access_token_is_an_at_jwt_for_the_bank(server: Running) -> None:
    token = decoded(server, server.ask(("scope", "openid")).get_json()["access_token"])
    jti = token.claims.pop("jti")
    assert token.header["typ"] == "at+jwt"
    assert len(jti) == 22
    assert token.claims == {
        "iss": "http://localhost:9000",
        "exp": int(START) + 300,
        "aud": BANK,
        "sub": "worker",
        "client_id": "worker",
        "iat": int(START),
        "scope": "Read Write",
    }


def test_the_id_token_is_for_the_client_and_bound_to_the_access_token(server: Running) -> None:
    answer = server.ask(("scope", "openid")).get_json()
    token = decoded(server, answer["id_token"])
    assert (token.header["typ"], token.header["alg"]) == ("JWT", "RS256")
    assert (token.claims["aud"], token.claims["sub"]) == ("worker", "worker")
    assert token.claims["at_hash"] == at_hash(answer["access_token"])


def test_the_lifetimes_and_the_algorithm_are_settings(make: Callable[..., Running]) -> None:
    server = make(access_token_algorithm="Ed25519", access_token_lifetime_seconds=60)
    answer = server.ask(("scope", "openid")).get_json()
    access_token, id_token = (decoded(server, answer[n]) for n in ("access_token", "id_token"))
    assert (answer["expires_in"], access_token.claims["exp"]) == (60, START + 60)
    assert (access_token.header["alg"], id_token.header["alg"]) == ("Ed25519", "RS256")


def test_where_id_tokens_are_off_openid_is_invalid_scope(make: Callable[..., Running]) -> None:
    server = make(id_tokens=False)
    assert error_of(server.ask(("scope", "openid"))) == (400, "invalid_scope")
    assert server.ask().status_code == 200


def test_the_resource_that_was_asked_for_is_the_audience(server: Running) -> None:
    server.command("clients", "add", "auditor", "--resource", LEDGER, "--resource", BANK)
    made = server.parts.registry.secrets.add("auditor")
    basic = server.basic("auditor", made.secret)
    answer = server.ask(("resource", BANK), ("scope", "Read"), authorization=basic).get_json()
    assert decoded(server, answer["access_token"]).claims["aud"] == BANK


def test_credentials_in_the_body_work_too(server: Running) -> None:
    response = server.post(f"{GRANT}&client_id=worker&client_secret={server.secret}")
    assert response.status_code == 200


def test_arrows_2_and_3_pass(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.ask(("scope", "openid"))
    assert events(caplog) == [("passed", 2), ("passed", 3)]


def test_a_client_without_api_scopes_is_unauthorized(server: Running) -> None:
    server.command("clients", "add", "looker", "--no-scope")
    made = server.parts.registry.secrets.add("looker")
    response = server.ask(authorization=server.basic("looker", made.secret))
    assert error_of(response) == (400, "unauthorized_client")


def test_a_disabled_client_is_invalid_client(server: Running) -> None:
    server.parts.registry.clients.disable("worker")
    assert error_of(server.ask()) == (401, "invalid_client")


def test_a_revoked_secret_is_invalid_client(server: Running) -> None:
    registry = server.parts.registry
    registry.secrets.revoke("worker", registry.secrets.all_of("worker")[0].secret_id)
    assert error_of(server.ask()) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("more", "answer"),
    [(("scope", "Admin"), (400, "invalid_scope")),
     (("scope", "a\x00b"), (400, "invalid_scope")),
     (("resource", "https://unknown.example"), (400, "invalid_target")),
     (("client_secret", "x"), (400, "invalid_request")),
     (("client_id", "other"), (401, "invalid_client")),
     (("grant_type", "password"), (400, "invalid_request"))],
    ids=lambda value: ascii(value),
)  # fmt: skip
def test_a_bad_parameter_has_its_error_and_is_recorded_once(
    server: Running,
    caplog: pytest.LogCaptureFixture,
    more: tuple[str, str],
    answer: tuple[int, str],
) -> None:
    caplog.set_level(logging.INFO)
    response = server.ask(more)
    assert error_of(response) == answer
    assert [event for event in events(caplog) if event[0] == "refused"] == [("refused", answer[1])]


def test_two_resources_are_judged_after_the_client(server: Running) -> None:
    two = (("resource", BANK), ("resource", BANK))
    assert error_of(server.ask(*two)) == (400, "invalid_target")
    nobody = server.basic("nobody")
    assert error_of(server.ask(*two, authorization=nobody)) == (401, "invalid_client")


@pytest.mark.parametrize("grant_type", ["password", "%22%5C%00%C3%A9", "refresh_token"])
def test_another_grant_is_unsupported(server: Running, grant_type: str) -> None:
    response = server.post(f"grant_type={grant_type}", authorization=server.basic())
    assert error_of(response) == (400, "unsupported_grant_type")


def test_an_unknown_client_and_a_wrong_secret_get_the_same_answer(server: Running) -> None:
    unknown = server.ask(authorization=server.basic("nobody"))
    wrong = server.ask(authorization=server.basic(secret="wrong"))
    assert (unknown.data, dict(unknown.headers)) == (wrong.data, dict(wrong.headers))


def test_the_challenge_names_a_realm_and_utf_8(server: Running) -> None:
    challenge = server.post(GRANT).headers["WWW-Authenticate"]
    assert challenge == 'Basic realm="token endpoint", charset="UTF-8"'


def test_the_reason_of_a_failure_is_in_the_log_alone(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = server.ask(authorization=server.basic(secret="wrong"))
    assert "the secret of worker does not match" in caplog.text
    assert b"worker" not in response.data
