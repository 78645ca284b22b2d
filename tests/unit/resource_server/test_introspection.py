import base64
import json
import math
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resource_server.introspection import RETRY_AFTER_SECONDS, TokenIntrospection
from resource_server.issuer_keys import LARGEST_DOCUMENT_BYTES, Issuer, impatient_session
from resource_server.token_validation import (
    LONGEST_TOKEN,
    BearerError,
    CannotJudgeError,
    InvalidTokenError,
)
from tests.stack.issuer import ABSENT, METADATA_PATH
from tests.stack.loopback import Asked, LoopbackServer, Reply

RESOURCE = "http://localhost:9001"
NOW = 1_800_000_000
ENDPOINT = "/introspect"
SECRET = "s:e+c r%t"


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """An authorization server that calls every token active."""
    with LoopbackServer() as running:
        metadata = {"issuer": running.url, "introspection_endpoint": running.url + ENDPOINT}
        running.reply(METADATA_PATH, Reply(document=metadata))
        running.reply(ENDPOINT, Reply(document=active(running)))
        yield running


@pytest.fixture
def introspection(server: LoopbackServer) -> TokenIntrospection:
    issuer = Issuer(server.url, None, 2, impatient_session())
    return TokenIntrospection(issuer, RESOURCE, "the bank:1", SECRET, now=lambda: NOW)


def active(server: LoopbackServer, **changes: Any) -> dict[str, Any]:
    said = {
        "active": True,
        "iss": server.url,
        "aud": RESOURCE,
        "client_id": "own-client",
        "sub": "own-client",
        "jti": "one",
        "scope": "Read Write",
        "token_type": "Bearer",
        "iat": NOW,
        "exp": NOW + 300,
        **changes,
    }
    return {name: value for name, value in said.items() if value is not ABSENT}


def questions(server: LoopbackServer) -> list[Asked]:
    return [asked for asked in server.asked if asked.path == ENDPOINT]


def test_an_active_token_is_told_as_what_the_issuer_says(
    introspection: TokenIntrospection,
) -> None:
    token = introspection.validate("opaque")

    assert (token.client_id, token.subject, token.token_id) == ("own-client", "own-client", "one")
    assert (token.scopes, token.issued_at, token.expires_at) == (
        frozenset({"Read", "Write"}),
        NOW,
        NOW + 300,
    )


def test_the_question_is_a_form_with_the_banks_own_credentials(
    introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    introspection.validate("a~token/+=")
    [asked] = questions(server)
    scheme, _, pair = asked.headers["authorization"].partition(" ")

    assert asked.method == "POST"
    assert asked.form == {"token": "a~token/+=", "token_type_hint": "access_token"}
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"the+bank%3A1:s%3Ae%2Bc+r%25t")


def test_the_issuer_is_asked_anew_each_time(
    introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    introspection.validate("opaque")
    server.reply(ENDPOINT, Reply(document={"active": False}))

    with pytest.raises(InvalidTokenError, match="not active"):
        introspection.validate("opaque")
    assert server.paths() == [METADATA_PATH, ENDPOINT, ENDPOINT]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(False, id="false"),
        pytest.param(None, id="null"),
        pytest.param("true", id="a-string"),
        pytest.param(1, id="a-number"),
        pytest.param([True], id="a-list"),
        pytest.param(ABSENT, id="nothing"),
    ],
)
def test_a_token_that_is_not_said_to_be_active_is_refused(
    said: object, introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    server.reply(ENDPOINT, Reply(document=active(server, active=said)))

    with pytest.raises(InvalidTokenError, match="not active"):
        introspection.validate("opaque")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"iss": "https://staging.example"}, "another issuer", id="another-issuer"),
        pytest.param({"aud": "https://other.example"}, "another API", id="another-audience"),
        pytest.param({"aud": []}, "another API", id="no-audience"),
        pytest.param({"exp": NOW - 5}, "expired", id="expired"),
        pytest.param({"nbf": NOW + 6}, "not valid yet", id="not-valid-yet"),
        pytest.param({"iat": NOW + 6}, "in the future", id="issued-in-the-future"),
        pytest.param({"token_type": "DPoP"}, "no bearer", id="a-token-bound-to-a-key"),
        pytest.param({"token_type": [[]]}, "no bearer", id="a-type-that-is-a-list"),
    ],
)
def test_what_the_issuer_says_is_judged_as_a_tokens_claims_are(
    changes: dict[str, Any],
    reason: str,
    introspection: TokenIntrospection,
    server: LoopbackServer,
) -> None:
    server.reply(ENDPOINT, Reply(document=active(server, **changes)))

    with pytest.raises(InvalidTokenError, match=reason):
        introspection.validate("opaque")


@pytest.mark.parametrize("absent", [ABSENT, None], ids=["left-out", "null"])
def test_what_the_issuer_does_not_say_is_not_judged(
    absent: object, introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    optional = ("iss", "aud", "sub", "jti", "scope", "token_type", "iat", "exp")
    changes = dict.fromkeys(optional, absent)
    server.reply(ENDPOINT, Reply(document=active(server, **changes)))
    token = introspection.validate("opaque")

    assert (token.client_id, token.scopes) == ("own-client", frozenset())
    assert (token.issued_at, token.not_before, token.expires_at) == (0, 0, math.inf)


UNUSABLE = [
    pytest.param({"client_id": ABSENT}, id="no-client-id"),
    pytest.param({"client_id": "a\u0000"}, id="client-id-with-nul"),
    pytest.param({"exp": "soon"}, id="exp-that-is-a-string"),
    pytest.param({"exp": True}, id="exp-that-is-true"),
    pytest.param({"scope": ["Read"]}, id="scope-that-is-a-list"),
    pytest.param({"aud": 5}, id="aud-that-is-a-number"),
    pytest.param({"sub": {}}, id="sub-that-is-an-object"),
]


@pytest.mark.parametrize("changes", UNUSABLE)
def test_an_answer_that_cannot_be_used_is_not_the_callers_fault(
    changes: dict[str, Any], introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    server.reply(ENDPOINT, Reply(document=active(server, **changes)))

    with pytest.raises(CannotJudgeError):
        introspection.validate("opaque")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(500), id="error"),
        pytest.param(Reply(400), id="bad-request"),
        pytest.param(Reply(204), id="no-content"),
        pytest.param(Reply(302, headers={"Location": ENDPOINT}), id="redirect"),
        pytest.param(Reply(body=b"<html>"), id="no-json"),
        pytest.param(Reply(body=b"[true]"), id="no-object"),
        pytest.param(Reply(body=b'{"active":false,"active":true}'), id="a-member-twice"),
        pytest.param(Reply(body=b'{"active":' * 6000), id="deep"),
        pytest.param(Reply(body=b" " * (LARGEST_DOCUMENT_BYTES + 1)), id="huge"),
        pytest.param(
            Reply(document={"active": True}, headers={"Content-Encoding": "gzip"}), id="no-gzip"
        ),
    ],
)
def test_a_hostile_answer_is_not_the_callers_fault(
    reply: Reply, introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    server.reply(ENDPOINT, reply)

    with pytest.raises(CannotJudgeError) as refusal:
        introspection.validate("opaque")
    assert refusal.value.retry_after_seconds == RETRY_AFTER_SECONDS
    assert len(questions(server)) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_when_its_own_credentials_are_refused_the_log_is_loud_and_holds_no_secret(
    status: int,
    introspection: TokenIntrospection,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.reply(ENDPOINT, Reply(status, {"error": "invalid_client"}))

    with pytest.raises(CannotJudgeError):
        introspection.validate("opaque")
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "'the bank:1'" in record.getMessage()
    assert SECRET not in record.getMessage()
    assert SECRET not in repr(introspection)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("0", 2), ("soon", 2), ("-1", 2), ("99999", 2), ("", 2)],
    ids=repr,
)
def test_the_issuers_retry_after_is_passed_on(
    said: str, seconds: int, introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    server.reply(ENDPOINT, Reply(429, headers={"Retry-After": said}))

    with pytest.raises(CannotJudgeError) as refusal:
        introspection.validate("opaque")
    assert refusal.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://127.0.0.1"},
        {"introspection_endpoint": None},
        {"introspection_endpoint": "file:///etc/passwd"},
        {"introspection_endpoint": "http://[::1"},
    ],
    ids=["another-issuer", "no-endpoint", "a-file", "malformed"],
)
def test_credentials_and_token_go_nowhere_that_the_issuer_does_not_vouch_for(
    changes: dict[str, Any], introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    metadata = {"issuer": server.url, "introspection_endpoint": server.url + ENDPOINT, **changes}
    server.reply(METADATA_PATH, Reply(document=metadata))

    with pytest.raises(CannotJudgeError):
        introspection.validate("opaque")
    assert questions(server) == []


def test_an_https_issuer_gets_no_credentials_over_plain_http(server: LoopbackServer) -> None:
    url = "https://issuer.example"
    metadata = {"issuer": url, "introspection_endpoint": server.url + ENDPOINT}
    server.reply(METADATA_PATH, Reply(document=metadata))
    issuer = Issuer(url, server.url + METADATA_PATH, 2, impatient_session())

    with pytest.raises(CannotJudgeError):
        TokenIntrospection(issuer, RESOURCE, "bank", SECRET).validate("opaque")
    assert questions(server) == []


def test_an_endpoint_that_moved_is_found_again(
    introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    introspection.validate("opaque")
    server.reply(ENDPOINT, Reply(404))
    with pytest.raises(CannotJudgeError):
        introspection.validate("opaque")
    metadata = {"issuer": server.url, "introspection_endpoint": server.url + "/elsewhere"}
    server.reply(METADATA_PATH, Reply(document=metadata))
    server.reply("/elsewhere", Reply(document=active(server)))

    assert introspection.validate("opaque").client_id == "own-client"


def test_without_the_issuer_nothing_is_judged(
    introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    server.stop()

    with pytest.raises(CannotJudgeError):
        introspection.validate("opaque")


def test_while_the_issuer_hangs_one_request_waits_and_the_others_do_not(
    introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    go_on = Event()

    def hang(_: Asked) -> Reply:
        go_on.wait(20)
        return Reply(document=active(server))

    introspection.issuer = Issuer(server.url, None, 0.5, impatient_session())
    server.reply(ENDPOINT, hang)
    with pytest.raises(CannotJudgeError):
        introspection.validate("opaque")  # finds out that it hangs
    introspection.issuer = Issuer(server.url, None, 20, impatient_session())
    probe = Thread(target=introspection.validate, args=("opaque",))
    probe.start()
    while len(questions(server)) < 2:
        time.sleep(0.01)
    for _ in range(5):
        with pytest.raises(CannotJudgeError):
            introspection.validate("opaque")
    asked_meanwhile = len(questions(server))
    go_on.set()
    probe.join()

    assert asked_meanwhile == 2
    assert introspection.validate("opaque").client_id == "own-client"


def test_a_token_that_is_too_long_is_not_sent_on(
    introspection: TokenIntrospection, server: LoopbackServer
) -> None:
    with pytest.raises(InvalidTokenError, match="longer"):
        introspection.validate("a" * (LONGEST_TOKEN + 1))
    assert server.asked == []


@hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["active", "iss", "aud", "exp", "scope", "client_id", "token_type"]
                ),
                inner,
            )
        ),
        max_leaves=6,
    )
)
def test_whatever_the_issuer_answers_the_token_is_taken_or_refused(
    introspection: TokenIntrospection, server: LoopbackServer, document: object
) -> None:
    said = {**active(server), **document} if isinstance(document, dict) else document
    server.reply(ENDPOINT, Reply(body=json.dumps(said).encode()))
    try:
        outcome = introspection.validate("opaque").client_id
    except BearerError as refusal:
        outcome = refusal.description

    assert outcome
