"""Token requests of clients that sign, from the command that registers them to the answer."""

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from tests.stack.issuer import signing_keys
from tests.stack.loopback import LoopbackServer, Reply
from tests.stack.signing_client import SigningClient, assertion_parameters
from tests.unit.auth_server.running import Running

ISSUER = "http://localhost:9000"
ADD = ("clients", "add", "signer", "--auth-method", "private_key_jwt", "--json")


def signer(server: Running, client_id: str = "signer") -> SigningClient:
    return SigningClient(client_id, ISSUER, signing_keys(), server.clock)


def register(server: Running, *kids: str) -> SigningClient:
    client = signer(server)
    result = server.command(*ADD, "--jwks", "-", given=json.dumps(client.jwks(*kids)).encode())
    assert result.exit_code == 0, result.output
    return client


def ask(server: Running, assertion: str, **more: str) -> TestResponse:
    form = {"grant_type": "client_credentials", **assertion_parameters(assertion, **more)}
    return server.post(urlencode(form))


def answers_of(responses: list[TestResponse]) -> set[tuple[int, bytes, str | None]]:
    return {(one.status_code, one.data, one.headers.get("WWW-Authenticate")) for one in responses}


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_a_client_that_signs_gets_a_token(server: Running, kid: str) -> None:
    client = register(server)
    answer = ask(server, client.assertion(kid), client_id="signer")
    assert (answer.status_code, json.loads(answer.data)["scope"]) == (200, "Read Write")


def test_its_method_is_in_the_event_and_its_assertion_is_not(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assertion = register(server).assertion()
    ask(server, assertion)
    events = [record.__dict__["event"] for record in caplog.records if "event" in record.__dict__]
    shown = {"client_id": "signer", "method": "private_key_jwt"}
    assert shown in [event.get("parameters") for event in events]
    assert assertion.rpartition(".")[2] not in caplog.text


def test_an_assertion_gets_one_token(server: Running) -> None:
    assertion = register(server).assertion()
    assert [ask(server, assertion).status_code for _ in range(2)] == [200, 401]


def test_an_assertion_that_was_not_signed_spends_no_jti(server: Running) -> None:
    client = register(server)
    forged = client.assertion(claims={"jti": "a"}, signature=b"\x00" * 256)
    good = client.assertion(claims={"jti": "a"})
    assert [ask(server, one).status_code for one in (forged, good)] == [401, 200]


def test_every_failure_is_answered_alike(server: Running) -> None:
    client = register(server, "rsa", "ec")
    server.command("clients", "add", "disabled", "--auth-method", "private_key_jwt", "--jwks", "-",
                   given=json.dumps(client.jwks()).encode())  # fmt: skip
    server.command("clients", "disable", "disabled")
    used = client.assertion()
    assert ask(server, used).status_code == 200
    failures = [
        ask(server, used),
        ask(server, client.assertion(claims={"exp": 1})),
        ask(server, client.assertion(claims={"aud": "other"})),
        ask(server, client.assertion(header={"alg": "none"}, signature=b"")),
        ask(server, client.assertion("rsa", signature=b"\x00" * 256)),
        ask(server, client.assertion("ed")),
        ask(server, "no.assertion.at all"),
        ask(server, client.assertion(), client_assertion_type="other"),
        ask(server, client.assertion(), client_id="worker"),
        ask(server, signer(server, "nobody").assertion()),
        ask(server, signer(server, "worker").assertion()),
        ask(server, signer(server, "disabled").assertion()),
        ask(server, signer(server, "no/client\u00e9").assertion()),
        server.post("grant_type=client_credentials&client_id=signer&client_secret=x"),
        server.ask(authorization=server.basic("signer", "")),
        server.ask(authorization=server.basic("nobody", "x")),
    ]
    assert [one.status_code for one in failures] == [401] * len(failures)
    assert len(answers_of(failures)) == 1


def test_other_keys_take_the_place_of_the_old_ones_at_once(server: Running) -> None:
    client = register(server, "rsa")
    given = json.dumps(client.jwks("ec", "ed")).encode()
    shown = server.command("clients", "set-keys", "signer", "--jwks", "-", "--json", given=given)
    assert json.loads(shown.stdout)["keys"] == {"ec": ["ES256"], "ed": ["Ed25519"]}
    statuses = [ask(server, client.assertion(kid)).status_code for kid in ("rsa", "ec", "ed")]
    assert statuses == [401, 200, 200]


def test_the_token_endpoints_url_is_an_audience_where_a_setting_says_so(
    make: Callable[..., Running],
) -> None:
    url = f"{ISSUER}/oidc/token"
    server = make(client_assertion_audiences=(url,))
    client = register(server)
    audiences = [url, [url], ISSUER, [ISSUER, url], f"{ISSUER}/other"]
    statuses = [
        ask(server, client.assertion(claims={"aud": audience})).status_code
        for audience in audiences
    ]
    assert statuses == [200, 200, 200, 401, 401]


def test_keys_at_a_jwks_uri_are_fetched_where_they_may_be_internal(
    make: Callable[..., Running],
) -> None:
    with LoopbackServer() as of_client:
        server = make(jwks_uri_may_be_internal=True)
        client = signer(server)
        of_client.reply("/jwks", Reply(document=client.jwks("ec")))
        added = server.command(*ADD, "--jwks-uri", f"{of_client.url}/jwks")
        assert json.loads(added.stdout)["jwks_uri"] == f"{of_client.url}/jwks"
        statuses = [ask(server, client.assertion("ec")).status_code for _ in range(2)]
        assert (statuses, of_client.paths()) == ([200, 200], ["/jwks"])


def test_keys_at_an_internal_address_are_not_asked_for_otherwise(server: Running) -> None:
    with LoopbackServer() as of_client:
        url = of_client.url.replace("http://", "https://")
        assert server.command(*ADD, "--jwks-uri", f"{url}/jwks").exit_code == 0
        assert ask(server, signer(server).assertion("ec")).status_code == 401
        assert of_client.asked == []


def test_no_session_of_the_database_is_open_while_keys_are_fetched(
    make: Callable[..., Running],
) -> None:
    with LoopbackServer() as of_client:
        server = make(jwks_uri_may_be_internal=True)
        client = signer(server)
        checked_out: list[int] = []

        def answer(_asked: object) -> Reply:
            checked_out.append(server.parts.database.engine.pool.checkedout())  # type: ignore[attr-defined]
            return Reply(document=client.jwks("ec"))

        of_client.reply("/jwks", answer)
        server.command(*ADD, "--jwks-uri", f"{of_client.url}/jwks")
        assert ask(server, client.assertion("ec")).status_code == 200
        assert checked_out == [0]


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--auth-method", "private_key_jwt"], 2),
     (["--auth-method", "private_key_jwt", "--jwks", "-", "--jwks-uri", "https://a.example"], 2),
     (["--auth-method", "private_key_jwt", "--jwks", "-", "--to-vault", "entry"], 2),
     (["--auth-method", "private_key_jwt", "--jwks", "-", "--lifetime-days", "1"], 2),
     (["--auth-method", "private_key_jwt", "--jwks-uri", "http://a.example"], 2),
     (["--auth-method", "private_key_jwt", "--jwks", "/no/such/file"], 2),
     (["--jwks", "-"], 2), (["--jwks-uri", "https://a.example"], 2),
     (["--auth-method", "client_secret_post", "--jwks", "-"], 2)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(
    server: Running, options: list[str], code: int
) -> None:
    result = server.command("clients", "add", "new", *options, given=b"{}")
    assert (result.exit_code, result.stdout) == (code, "")


def jwks_given(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


@pytest.mark.parametrize(
    ("document", "reason"),
    [(b"", "no JSON"), (b"[]", "no JSON"), (b"\xff", "no JSON"), (b" " * 70_000, "more than"),
     ({}, "no JWK Set"), ({"keys": []}, "no key"), ({"kty": "oct", "k": "eA"}, "private or secret"),
     (dict(signing_keys()["ec"].pair.as_dict(private=True)), "private or secret")],
    ids=["empty", "array", "no text", "large", "no set", "no key", "symmetric", "private"],
)  # fmt: skip
def test_keys_that_cannot_be_used_are_refused_in_one_line(
    server: Running, document: object, reason: str
) -> None:
    result = server.command(*ADD, "--jwks", "-", given=jwks_given(document))
    last = result.stderr.strip().splitlines()[-1]
    assert (result.exit_code, last.startswith("Error: "), reason in last) == (1, True, True)


def test_a_client_that_signs_is_given_no_secret(server: Running) -> None:
    register(server)
    assert json.loads(server.command("secrets", "list", "signer", "--json").stdout) == []
    refused = server.command("secrets", "add", "signer")
    assert (refused.exit_code, "set-keys" in refused.stderr) == (1, True)


def test_a_client_with_a_secret_is_given_no_keys(server: Running) -> None:
    given = json.dumps(signer(server).jwks()).encode()
    refused = server.command("clients", "set-keys", "worker", "--jwks", "-", given=given)
    assert (refused.exit_code, "authenticates with a secret" in refused.stderr) == (1, True)


def test_keys_may_move_from_the_register_to_a_uri_and_back(server: Running) -> None:
    client = register(server, "ec")
    uri = "https://client.example/jwks"
    moved = server.command("clients", "set-keys", "signer", "--jwks-uri", uri, "--json")
    given = json.dumps(client.jwks("ed")).encode()
    back = server.command("clients", "set-keys", "signer", "--jwks", "-", "--json", given=given)
    shown = [json.loads(result.stdout) for result in (moved, back)]
    assert [(one.get("jwks_uri"), one.get("keys")) for one in shown] == [
        (uri, None),
        (None, {"ed": ["Ed25519"]}),
    ]


def test_a_client_that_signs_is_shown_with_its_keys(server: Running) -> None:
    register(server, "rsa", "ec")
    shown = server.command("clients", "show", "signer").stdout
    assert "keys                        rsa: RS256; ec: ES256\n" in shown
