import io
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from client_service.bearer_auth import BearerAuth, bearer_error, origin_of
from client_service.token_messages import AccessToken, TokenError
from client_service.token_source import TokenSource
from tests.stack.loopback import Asked, LoopbackServer, Reply

TIMEOUT_SECONDS = 10
INVALID_TOKEN = Reply(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
PATH = "/account"
Tokens = Callable[..., TokenSource]


def granted(token: str) -> Reply:
    return Reply(document={"access_token": token, "token_type": "Bearer", "expires_in": 300})


@pytest.fixture
def api(server: LoopbackServer) -> LoopbackServer:
    """A server that grants the tokens `old`, then `new`, and is the API that they are for."""
    server.reply("/token", granted("old"), granted("new"))
    return server


@pytest.fixture
def elsewhere() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture
def authorized(api: LoopbackServer, tokens: Tokens, session: requests.Session) -> requests.Session:
    session.auth = BearerAuth(tokens(), origins=[api.url])
    return session


def bearers(server: LoopbackServer) -> list[str | None]:
    """Return the Authorization header of each request but those for a token."""
    return [one.headers.get("authorization") for one in server.asked if one.path != "/token"]


def read(session: requests.Session, url: str, **options: Any) -> Response:
    return session.get(url, timeout=TIMEOUT_SECONDS, **options)


def test_the_token_goes_to_an_origin_that_it_is_for(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    assert read(authorized, api.url + PATH).status_code == 200
    assert bearers(api) == ["Bearer old"]


def test_the_token_goes_to_no_other_origin(
    authorized: requests.Session, elsewhere: LoopbackServer, api: LoopbackServer
) -> None:
    read(authorized, elsewhere.url + PATH)
    read(authorized, api.url.replace("127.0.0.1", "localhost") + PATH)

    assert bearers(elsewhere) + bearers(api) == [None, None]


def test_no_token_is_asked_for_where_it_would_not_be_sent(
    authorized: requests.Session, elsewhere: LoopbackServer, api: LoopbackServer
) -> None:
    read(authorized, elsewhere.url + PATH)

    assert api.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_token_to_no_other_origin(
    authorized: requests.Session, api: LoopbackServer, elsewhere: LoopbackServer, status: int
) -> None:
    api.reply(PATH, Reply(status, headers={"Location": elsewhere.url + PATH}))

    read(authorized, api.url + PATH)

    assert bearers(elsewhere) == [None]


def test_a_redirect_within_the_origin_keeps_the_token(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    api.reply("/old", Reply(307, headers={"Location": PATH}))

    assert read(authorized, api.url + "/old").status_code == 200
    assert bearers(api) == ["Bearer old", "Bearer old"]


def test_what_leads_back_from_elsewhere_comes_without_the_token(
    authorized: requests.Session, api: LoopbackServer, elsewhere: LoopbackServer
) -> None:
    api.reply("/old", Reply(307, headers={"Location": elsewhere.url + PATH}))
    elsewhere.reply(PATH, Reply(307, headers={"Location": api.url + PATH}))

    read(authorized, api.url + "/old")

    assert (bearers(elsewhere), bearers(api)) == ([None], ["Bearer old", None])


def test_where_the_repetition_is_redirected_the_new_token_stays_too(
    authorized: requests.Session, api: LoopbackServer, elsewhere: LoopbackServer
) -> None:
    api.reply(PATH, INVALID_TOKEN, Reply(307, headers={"Location": elsewhere.url + PATH}))

    read(authorized, api.url + PATH)

    assert (bearers(api), bearers(elsewhere)) == (["Bearer old", "Bearer new"], [None])


def test_a_refusal_by_another_origin_neither_renews_nor_repeats(
    authorized: requests.Session, api: LoopbackServer, elsewhere: LoopbackServer
) -> None:
    api.reply(PATH, Reply(307, headers={"Location": elsewhere.url + PATH}))
    elsewhere.reply(PATH, INVALID_TOKEN)

    assert read(authorized, api.url + PATH).status_code == 401
    assert api.paths() == ["/token", PATH]
    assert bearers(elsewhere) == [None]


def test_a_redirect_that_is_not_followed_still_tells_what_was_sent(
    authorized: requests.Session, api: LoopbackServer, elsewhere: LoopbackServer
) -> None:
    api.reply(PATH, Reply(307, headers={"Location": elsewhere.url + PATH}))

    answer = read(authorized, api.url + PATH, allow_redirects=False)

    assert answer.request.headers["Authorization"] == "Bearer old"
    assert answer.next is not None
    assert "Authorization" not in answer.next.headers


class Network(HTTPAdapter):
    """A network in memory: redirects the first request to ``location``, takes the others.

    Remembers where requests would have connected, and which Authorization it would have sent.
    """

    def __init__(self, location: str) -> None:
        super().__init__()
        self.location = location
        self.sent: list[tuple[dict[str, Any], str | None]] = []

    def send(self, request: PreparedRequest, *_options: Any, **_more: Any) -> Response:
        place, _tls = self.build_connection_pool_key_attributes(request, verify=True)
        self.sent.append((dict(place), request.headers.get("Authorization")))
        answer = Response()
        answer.status_code, answer.url, answer.request = 200, request.url or "", request
        answer.raw = io.BytesIO()
        if len(self.sent) == 1:
            answer.status_code = 307
            answer.headers["Location"] = self.location
        return answer


class OneToken(TokenSource):
    """Has a token and asks nobody."""

    def token(self) -> AccessToken:
        return AccessToken("t0ken", 1, 2)


def redirected(location: str, start: str = "http://bank.example/a") -> Network:
    """Return the network after a request for ``start`` was redirected to ``location``."""
    network = Network(location)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", network)
        session.mount("https://", network)
        tokens = OneToken(lambda: "", lambda: pytest.fail("asked for"))
        session.auth = BearerAuth(tokens, origins=["http://bank.example"])
        with suppress(requests.RequestException, ValueError):  # no URL that requests would go to
            read(session, start)
    return network


def test_a_change_of_the_scheme_alone_leaves_the_token_behind_though_requests_would_not() -> None:
    assert redirected("https://bank.example/a").sent == [
        ({"scheme": "http", "host": "bank.example", "port": None}, "Bearer t0ken"),
        ({"scheme": "https", "host": "bank.example", "port": None}, None),
    ]


PARTS_OF_A_LOCATION = (
    ["", "http:", "https:", "HTTP:", " https:", "http\t:", "ftp:"],
    ["//", "/", "", "///", "\\\\", "/\\"],
    ["", "evil.example@", "bank.example@", "bank.example:80@", "bank.example\\@"],
    ["bank.example", "BANK.example", "evil.example", "bank%2eexample", "bank.exämple", "[::1]", ""],
    ["", ":80", ":443", ":8080", ":080", ":", ":99999"],
    ["", "/a", "#@evil.example", "?@bank.example", "\\@evil.example"],
)


@given(st.tuples(*map(st.sampled_from, PARTS_OF_A_LOCATION)).map("".join))
def test_wherever_a_redirect_leads_the_token_is_sent_to_its_origin_alone(location: str) -> None:
    for place, authorization in redirected(location).sent:
        own = (place["scheme"], place["host"], place["port"] or 80) == ("http", "bank.example", 80)
        assert own or authorization is None


def test_a_refused_token_is_renewed_once_and_the_request_repeated_once(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    api.reply(PATH, INVALID_TOKEN, Reply(document={}))

    answer = read(authorized, api.url + PATH)

    assert (answer.status_code, [one.status_code for one in answer.history]) == (200, [401])
    assert bearers(api) == ["Bearer old", "Bearer new"]


def test_a_token_that_is_refused_twice_is_the_callers_matter(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    api.reply(PATH, INVALID_TOKEN)

    assert read(authorized, api.url + PATH).status_code == 401
    assert len(bearers(api)) == 2


@pytest.mark.parametrize(
    ("status", "challenge"),
    [(401, "Bearer"), (401, 'Basic error="invalid_token"'), (403, 'Bearer error="invalid_token"')],
    ids=["no code", "another scheme", "another status"],
)
def test_another_refusal_is_not_repeated(
    authorized: requests.Session, api: LoopbackServer, status: int, challenge: str
) -> None:
    api.reply(PATH, Reply(status, headers={"WWW-Authenticate": challenge}))

    assert read(authorized, api.url + PATH).status_code == status
    assert bearers(api) == ["Bearer old"]


BODIES: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _path: b"amount=5",
    "text": lambda _path: "amount=5",
    "form": lambda _path: {"amount": "5"},
    "file": lambda path: path.open("rb"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_repeated_whole(
    authorized: requests.Session, api: LoopbackServer, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "body").write_bytes(b"amount=5")
    api.reply(PATH, INVALID_TOKEN, Reply(201))
    body = BODIES[kind](tmp_path / "body")

    answer = authorized.post(api.url + PATH, body, timeout=TIMEOUT_SECONDS)

    assert answer.status_code == 201
    assert [asked.body for asked in api.asked if asked.path == PATH] == [b"amount=5"] * 2
    getattr(body, "close", lambda: None)()


def test_a_body_that_is_used_up_is_not_repeated_but_the_next_request_has_a_new_token(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    api.reply(PATH, INVALID_TOKEN, Reply(201))

    refused = authorized.post(api.url + PATH, iter([b"amount=5"]), timeout=TIMEOUT_SECONDS)
    read(authorized, api.url + PATH)

    assert (refused.status_code, refused.history) == (401, [])
    assert bearers(api) == ["Bearer old", "Bearer new"]


def test_of_many_threads_whose_token_is_refused_one_asks_for_a_new_one(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    threads = 6
    refused_together = Barrier(threads)

    def answer(asked: Asked) -> Reply:
        if asked.headers["authorization"] == "Bearer new":
            return Reply(document={})
        refused_together.wait(TIMEOUT_SECONDS)
        return INVALID_TOKEN

    api.reply(PATH, answer)

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda _: read(authorized, api.url + PATH), range(threads)))

    assert [one.status_code for one in answers] == [200] * threads
    assert api.paths().count("/token") == 2


def test_where_no_token_is_to_be_had_the_request_is_not_sent(
    authorized: requests.Session, api: LoopbackServer
) -> None:
    api.reply("/token", Reply(400, {"error": "invalid_scope"}))

    with pytest.raises(TokenError, match="400 invalid_scope"):
        read(authorized, api.url + PATH)

    assert api.paths() == ["/token"]


def test_a_netrc_file_does_not_take_the_place_of_the_token(
    authorized: requests.Session,
    api: LoopbackServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text("default login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    read(authorized, api.url + PATH)

    assert bearers(api) == ["Bearer old"]


@pytest.mark.parametrize("origin", ["bank.example", "ftp://bank.example", "https://", ""], ids=str)
def test_what_is_no_origin_is_refused_at_once(tokens: Tokens, origin: str) -> None:
    with pytest.raises(ValueError, match="an origin has a scheme"):
        BearerAuth(tokens(), origins=[origin])


def test_an_origin_is_scheme_host_and_port_of_any_url_of_it() -> None:
    assert origin_of("HTTPS://Bank.example/account?x=1") == ("https", "bank.example", 443)
    assert origin_of("http://localhost:9001") == ("http", "localhost", 9001)


def test_a_url_with_an_impossible_port_has_no_origin() -> None:
    with pytest.raises(ValueError, match="Port out of range"):
        origin_of("http://bank.example:99999/")


@pytest.mark.parametrize(
    ("challenge", "code"),
    [
        ('Bearer realm="bank", error="invalid_token"', "invalid_token"),
        ('Basic realm="x", bearer error="insufficient_scope"', "insufficient_scope"),
        ('Bearer error_description="error"', None),
        ("Bearer", None),
    ],
    ids=["after the realm", "after another challenge", "a description alone", "bare"],
)
def test_the_code_of_a_challenge_is_found(challenge: str, code: str | None) -> None:
    assert bearer_error({"WWW-Authenticate": challenge}) == code


@given(st.text())
def test_a_challenge_of_any_kind_is_read_without_a_fault(challenge: str) -> None:
    code = bearer_error({"WWW-Authenticate": challenge})

    assert code is None or re.search(re.escape(f'error="{code}"'), challenge)
