import io
import json
import logging
import random
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import certifi
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt

from client_service.private_key_jwt import private_key_jwt
from client_service.retries import Retries
from client_service.token_messages import (
    AccessToken,
    ClientCredentials,
    TokenError,
    client_secret_basic,
)
from client_service.token_source import TokenSource
from tests.stack.issuer import signing_keys
from tests.stack.loopback import Asked, LoopbackServer, Reply
from tests.stack.tls import own_certificate
from tests.unit.client_service.conftest import Clock, HandTimer

Tokens = Callable[..., TokenSource]


def granted(token: str, **changes: object) -> Reply:
    members = {"access_token": token, "token_type": "Bearer", "expires_in": 300}
    return Reply(document={**members, **changes})


def test_a_token_is_asked_for_with_the_credentials_in_the_form(
    tokens: Tokens, server: LoopbackServer
) -> None:
    tokens().token()

    assert server.asked[0].form == {
        "grant_type": "client_credentials",
        "scope": "openid",
        "client_id": "client",
        "client_secret": "s3cret",
    }
    assert "authorization" not in server.asked[0].headers


def test_basic_carries_both_parts_form_encoded_and_the_form_neither(
    tokens: Tokens, server: LoopbackServer
) -> None:
    odd = ClientCredentials("id:1", "a+b %ü")

    tokens(credentials=lambda: odd, authenticate=client_secret_basic).token()

    scheme, encoded = server.asked[0].headers["authorization"].split()
    assert scheme == "Basic"
    assert b64decode(encoded).decode() == "id%3A1:a%2Bb+%25%C3%BC"
    assert server.asked[0].form == {"grant_type": "client_credentials", "scope": "openid"}


def test_the_resource_is_asked_for_at_every_renewal(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    source = tokens(resource="http://bank")
    source.token()
    clock.time += 301

    source.token()

    assert [asked.form["resource"] for asked in server.asked] == ["http://bank"] * 2


def test_a_netrc_file_does_not_take_the_place_of_the_credentials(
    tokens: Tokens, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    tokens().token()

    assert "authorization" not in server.asked[0].headers


def test_a_second_call_reuses_the_token(tokens: Tokens, server: LoopbackServer) -> None:
    source = tokens()

    assert source.token() is source.token()
    assert server.paths() == ["/token"]


def test_the_life_counts_from_before_the_request_was_sent(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    def slow(_asked: Asked) -> Reply:
        clock.time += 7
        return granted("slow")

    server.reply("/token", slow)

    token = tokens().token()

    assert (token.renew_at, token.ends_at) == (1240.0, 1300.0)


def test_a_token_is_renewed_beside_the_caller(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    server.reply("/token", granted("old"), granted("new"))
    timer = HandTimer(clock, at_once=False)
    source = tokens(timer=timer)
    source.token()
    clock.time += 240

    assert [source.token().value for _ in range(3)] == ["old"] * 3
    assert (timer.due_at, len(server.asked)) == (clock.time, 1)
    timer.pass_to(clock.time)
    assert source.token().value == "new"
    assert len(server.asked) == 2


def test_a_job_that_asks_once_in_each_life_never_waits(
    tokens: Tokens, server: LoopbackServer, timer: HandTimer
) -> None:
    server.reply("/token", lambda _asked: granted(f"t{len(server.asked)}"))
    source = tokens()
    source.token()
    asked = []
    for moment in (1300, 1600, 1900):
        timer.pass_to(moment)
        before = len(server.asked)
        asked.append((source.token().value, len(server.asked) - before))

    assert asked == [("t2", 0), ("t3", 0), ("t4", 0)]


def test_a_client_that_asks_no_more_lets_its_token_end_after_one_life(
    tokens: Tokens, server: LoopbackServer, timer: HandTimer
) -> None:
    tokens().token()

    timer.pass_to(9000)

    assert len(server.asked) == 2
    assert timer.due_at is None


def test_a_token_that_is_asked_for_late_is_renewed_then(
    tokens: Tokens, server: LoopbackServer, timer: HandTimer
) -> None:
    server.reply("/token", granted("first"), granted("second"), granted("third"))
    source = tokens()
    source.token()
    timer.pass_to(1500)

    assert [source.token().value for _ in range(2)] == ["second", "third"]


def test_a_token_that_was_refused_is_not_renewed_when_it_would_have_been_due(
    tokens: Tokens, server: LoopbackServer, timer: HandTimer
) -> None:
    source = tokens()
    source.discard(source.token())

    timer.pass_to(9000)

    assert len(server.asked) == 1


def test_a_renewal_that_fails_is_tried_again_by_the_timer_until_the_token_ends(
    tokens: Tokens, server: LoopbackServer, timer: HandTimer
) -> None:
    tokens().token()
    server.reply("/token", Reply(503))

    timer.pass_to(9000)

    assert len(server.asked) == 1 + 4  # after 240, 255, 270 and 285 s of 300
    assert timer.due_at is None


def test_who_asks_while_the_timer_renews_gets_the_old_token_or_joins_its_request(
    tokens: Tokens, server: LoopbackServer, clock: Any, timer: HandTimer
) -> None:
    asking, answered = Event(), Event()

    def answer(_asked: Asked) -> Reply:
        asking.set()
        answered.wait(10)
        return granted("new")

    server.reply("/token", granted("old"), answer)
    source = tokens()
    source.token()
    with ThreadPoolExecutor(4) as pool:
        renewing = pool.submit(timer.pass_to, 1240)
        assert asking.wait(10)
        meanwhile = source.token().value
        clock.time = 1300
        after_its_end = [pool.submit(source.token) for _ in range(3)]
        answered.set()
        values = [one.result(10).value for one in after_its_end]
        renewing.result(10)

    assert (meanwhile, values, len(server.asked)) == ("old", ["new"] * 3, 2)


def test_a_source_that_is_stopped_renews_nothing_but_still_gives_tokens(
    tokens: Tokens, server: LoopbackServer, timer: HandTimer
) -> None:
    server.reply("/token", granted("old"), granted("new"))
    source = tokens()
    source.token()

    source.stop()
    timer.pass_to(1300)

    assert len(server.asked) == 1
    assert source.token().value == "new"


def test_a_token_serves_to_its_very_end_while_the_server_is_down(
    tokens: Tokens, server: LoopbackServer, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source = tokens()
    source.token()
    server.reply("/token", Reply(503))
    clock.time += 299.9

    with caplog.at_level(logging.WARNING):
        assert source.token().value == "first"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_after_its_end_a_token_is_not_given_out(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    source = tokens()
    source.token()
    server.reply("/token", Reply(503))
    clock.time += 300

    with pytest.raises(TokenError) as caught:
        source.token()

    assert caught.value.status == 503


def test_failed_early_renewals_keep_a_pause(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    source = tokens()
    source.token()
    server.reply("/token", Reply(500))
    clock.time += 240

    for _ in range(10):
        source.token()
    clock.time += 15
    source.token()

    assert len(server.asked) == 3


def test_when_a_token_is_due_neither_follows_nor_disturbs_random_numbers_that_a_program_seeded(
    server: LoopbackServer, clock: Clock, timer: HandTimer
) -> None:
    due = set()
    for _ in range(2):
        source = TokenSource(
            token_url=lambda: server.url + "/token",
            credentials=lambda: ClientCredentials("client", "s3cret"),
            now=clock,
            timer=timer,
        )
        random.seed(1)
        seeded = random.getstate()
        with source.session:
            due.add(source.token().renew_at)
        assert random.getstate() == seeded

    assert len(due) == 2


def test_a_discarded_token_is_replaced(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", granted("old"), granted("new"))
    source = tokens()
    source.discard(source.token())

    assert source.token().value == "new"


def test_discarding_an_old_token_leaves_the_new_one(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", granted("old"), granted("new"), granted("third"))
    source = tokens()
    old = source.token()
    source.discard(old)
    new = source.token()

    source.discard(old)

    assert source.token() is new


def test_one_thread_asks_and_all_get_its_token(tokens: Tokens, server: LoopbackServer) -> None:
    source, threads = tokens(), 8
    together, asking, answered = Barrier(threads), Event(), Event()

    def answer(_asked: Asked) -> Reply:
        asking.set()
        answered.wait(10)
        return granted("shared")

    server.reply("/token", answer)

    def ask() -> str:
        together.wait(10)
        return source.token().value

    with ThreadPoolExecutor(threads) as pool:
        results = [pool.submit(ask) for _ in range(threads)]
        assert asking.wait(10)
        answered.set()
        values = [result.result(10) for result in results]

    assert values == ["shared"] * threads
    assert len(server.asked) == 1


class Waiters:
    """Credentials whose reader waits until the others have come to wait for it."""

    def __init__(self) -> None:
        self.reading = Event()
        self.go_on = Event()

    def __call__(self) -> ClientCredentials:
        self.reading.set()
        self.go_on.wait(10)
        return ClientCredentials("client", "s3cret")


def test_a_failure_is_shared_by_those_who_waited(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", Reply(400, {"error": "invalid_scope"}))
    credentials = Waiters()
    source = tokens(credentials=credentials)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(source.token)
        assert credentials.reading.wait(10)
        asking = source._asking
        assert asking is not None
        others = [pool.submit(source.token) for _ in range(3)]
        while len(asking._condition._waiters) < 3:  # type: ignore[attr-defined]
            pass
        credentials.go_on.set()
        errors = [result.exception(10) for result in [first, *others]]

    assert [error is errors[0] for error in errors] == [True] * 4
    assert isinstance(errors[0], TokenError)
    assert len(server.asked) == 1


def test_the_next_call_after_a_failure_asks_again(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", Reply(500), granted("good"))
    source = tokens()
    with pytest.raises(TokenError):
        source.token()

    assert source.token().value == "good"


def test_a_rotated_secret_is_used_at_once(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client"}), granted("good"))
    vault = [ClientCredentials("client", "old"), ClientCredentials("client", "new")]
    source = tokens(credentials=lambda: vault.pop(0))

    assert source.token().value == "good"
    assert [asked.form["client_secret"] for asked in server.asked] == ["old", "new"]


def test_a_secret_that_is_refused_and_unchanged_is_not_sent_again(
    tokens: Tokens, server: LoopbackServer
) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client"}))

    with pytest.raises(TokenError, match="401 invalid_client"):
        tokens().token()

    assert len(server.asked) == 1


def test_no_redirect_is_followed_with_the_credentials(
    tokens: Tokens, server: LoopbackServer
) -> None:
    server.reply("/token", Reply(307, headers={"Location": server.url + "/elsewhere"}))

    with pytest.raises(TokenError) as caught:
        tokens().token()

    assert (caught.value.status, caught.value.code) == (307, "invalid_answer")
    assert server.paths() == ["/token"]


def test_a_server_that_does_not_answer_is_told_without_a_status(
    tokens: Tokens, server: LoopbackServer
) -> None:
    server.stop()

    with pytest.raises(TokenError) as caught:
        tokens().token()

    assert (caught.value.status, caught.value.code) == (None, "no_answer")


def test_no_secret_and_no_token_stands_in_a_repr(tokens: Tokens) -> None:
    source = tokens()
    token = source.token()

    assert "first" not in repr(source) + repr(token)
    assert "s3cret" not in repr(source) + repr(source.credentials())


def test_arrow_1_passes_with_the_answer(
    tokens: Tokens, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "shared.arrows"):
        tokens().token()

    event = caplog.records[0].__dict__["event"]
    assert (event["arrow"], event["status"], event["method"]) == (1, 200, "POST")
    assert event["url"] == server.url + "/token"
    assert event["parameters"]["client_secret"] == "(6 characters)"


def test_arrow_1_passes_where_the_client_is_refused_too(
    tokens: Tokens, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client"}))

    with caplog.at_level(logging.INFO, "shared.arrows"), pytest.raises(TokenError):
        tokens().token()

    event = caplog.records[0].__dict__["event"]
    assert (event["arrow"], event["status"]) == (1, 401)


def test_arrow_1_does_not_pass_where_no_answer_came(
    tokens: Tokens, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()

    with caplog.at_level(logging.INFO, "shared.arrows"), pytest.raises(TokenError):
        tokens().token()

    assert caplog.records == []


def without_pauses(sleep: Callable[[float], None] = lambda _seconds: None) -> Retries:
    return Retries(10, sleep=sleep, uniform=lambda low, _high: low)


def test_a_request_that_failed_is_made_anew_with_what_the_vault_holds_then(
    tokens: Tokens, server: LoopbackServer
) -> None:
    server.reply("/token", Reply(503), Reply(429), granted("good"))
    secrets = iter(["first", "second", "third"])
    source = tokens(
        credentials=lambda: ClientCredentials("client", next(secrets)), retries=without_pauses()
    )

    assert source.token().value == "good"
    sent = [asked.form["client_secret"] for asked in server.asked]
    assert sent == ["first", "second", "third"]


def test_the_pause_that_the_server_asks_for_is_made(tokens: Tokens, server: LoopbackServer) -> None:
    pauses: list[float] = []
    server.reply("/token", Reply(429, headers={"Retry-After": "3"}), granted("good"))

    tokens(retries=without_pauses(pauses.append)).token()

    assert pauses == [3]


def test_while_it_is_tried_again_all_wait_for_the_one_who_asks(
    tokens: Tokens, server: LoopbackServer
) -> None:
    pausing, go_on = Event(), Event()

    def sleep(_seconds: float) -> None:
        pausing.set()
        go_on.wait(10)

    server.reply("/token", Reply(503), granted("good"))
    source = tokens(retries=without_pauses(sleep))

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(source.token)
        assert pausing.wait(10)
        others = [pool.submit(source.token) for _ in range(3)]
        go_on.set()
        values = [one.result(10).value for one in [first, *others]]

    assert values == ["good"] * 4
    assert len(server.asked) == 2


def test_a_server_that_wants_a_long_pause_is_not_asked_for_an_early_renewal_meanwhile(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    source = tokens()
    source.token()
    server.reply("/token", Reply(429, headers={"Retry-After": "50"}))
    clock.time += 240
    source.token()

    clock.time += 49
    source.token()
    assert len(server.asked) == 2
    clock.time += 1
    source.token()
    assert len(server.asked) == 3


def test_two_sources_keep_their_own_tokens(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", lambda asked: granted(asked.form["resource"][-1]))
    first, second = tokens(resource="http://a"), tokens(resource="http://b")

    assert [one.token().value for one in (first, second, first)] == ["a", "b", "a"]
    assert len(server.asked) == 2


def test_what_a_server_wants_besides_is_sent_at_every_renewal(
    tokens: Tokens, server: LoopbackServer, clock: Any
) -> None:
    source = tokens(parameters={"audience": "https://api"}, scope="Read", resource="http://bank")
    source.token()
    clock.time += 301
    source.token()

    first, second = (asked.form for asked in server.asked)
    assert first == second
    assert (first["audience"], first["scope"], first["resource"]) == (
        "https://api",
        "Read",
        "http://bank",
    )


def test_a_proof_by_a_key_is_a_new_one_at_each_try(tokens: Tokens, server: LoopbackServer) -> None:
    server.reply("/token", Reply(503), granted("good"))
    key = signing_keys()["ec"]
    jwk = json.dumps(key.pair.as_dict(private=True))
    source = tokens(
        credentials=lambda: ClientCredentials("signer", private_jwk=jwk),
        authenticate=private_key_jwt(server.url),
        retries=without_pauses(),
    )

    source.token()

    sent = [asked.form["client_assertion"] for asked in server.asked]
    claims = [jwt.decode(assertion, key.pair).claims for assertion in sent]
    assert [one["aud"] for one in claims] == [server.url] * 2
    assert claims[0]["jti"] != claims[1]["jti"]


def test_a_server_that_no_trusted_ca_vouches_for_gets_no_credentials(
    tokens: Tokens, server: LoopbackServer, tmp_path: Path
) -> None:
    _ca, server_file = own_certificate(tmp_path)
    server.speak_tls(server_file)

    with pytest.raises(TokenError, match="SSLError"):
        tokens().token()

    assert server.asked == []


def test_an_own_ca_is_trusted_whatever_the_environment_names(
    tokens: Tokens, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, server_file = own_certificate(tmp_path)
    server.speak_tls(server_file)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    source = tokens()
    source.session.verify = str(ca)

    assert source.token().value == "first"


@given(
    st.lists(
        st.tuples(st.floats(0, 120), st.sampled_from(["ask", "discard", "down", "up"])),
        max_size=30,
    ),
    st.floats(0.75, 0.85),
)
def test_no_token_is_given_out_after_its_end_and_none_is_asked_for_before_it_is_due(
    steps: list[tuple[float, str]], share: float
) -> None:
    server = ServerInMemory(share)
    for seconds, step in steps:
        server.timer.pass_to(server.clock.time + seconds)
        server.do(step)

    assert server.given_after_their_end == []
    assert server.asked_too_early == []


class ServerInMemory(requests.Session):
    """A server of tokens that live 100 s, the clock, and a source that asks it.

    A token is due for renewal after ``share`` of its life.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.clock = Clock()
        self.timer = HandTimer(self.clock)
        self.is_down = False
        self.issued_at: dict[str, float] = {}
        self.given_after_their_end: list[str] = []
        self.asked_too_early: list[float] = []
        self.last: AccessToken | None = None
        self.source = TokenSource(
            token_url=lambda: "https://auth.example/token",
            credentials=lambda: ClientCredentials("client", "s3cret"),
            session=self,
            now=self.clock,
            renewal_share=lambda: share,
            retries=Retries(0),
            timer=self.timer,
        )

    def do(self, step: str) -> None:
        self.is_down = {"down": True, "up": False}.get(step, self.is_down)
        if step == "discard" and self.last:
            self.source.discard(self.last)
            self.last = None
        if step != "ask":
            return
        try:
            self.last = self.source.token()
        except TokenError:
            self.last = None
        else:
            if self.clock.time >= self.issued_at[self.last.value] + 100:
                self.given_after_their_end.append(self.last.value)

    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:
        if self.last and self.clock.time < self.issued_at[self.last.value] + 75:
            self.asked_too_early.append(self.clock.time)
        answer = requests.Response()
        answer.status_code, answer.url = (503 if self.is_down else 200), request.url or ""
        value = f"t{len(self.issued_at)}"
        body = {"access_token": value, "token_type": "Bearer", "expires_in": 100}
        answer.raw = io.BytesIO(json.dumps(body).encode())
        if not self.is_down:
            self.issued_at[value] = self.clock.time
        return answer
