import random
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Message, Request
from gunicorn.http.unreader import IterUnreader

from shared import gunicorn_request
from shared.gunicorn_request import LONGEST_LINE, MOST_LINES, RequestOfUsualLines

CONFIG = Config()
PEER = ("127.0.0.1", 40000)
GET = b"GET /account HTTP/1.1"
HOST = b"Host: localhost:9001"
TOKEN = b"Authorization: Bearer a.b.c"
TRACE = b"traceparent: 00-1234567890abcdef1234567890abcdef-1234567890abcdef-01"
TYPE = b"Content-Type: application/x-www-form-urlencoded"

HEADS = {
    "usual": [GET, HOST, TOKEN, b"Accept: */*"],
    "no-token": [GET, HOST],
    "no-header": [GET],
    "post": [b"POST /oidc/token HTTP/1.1", HOST, TOKEN, TYPE, b"Content-Length: 5"],
    "query": [b"GET /account?access_token=secret HTTP/1.1", HOST],
    "fragment": [b"GET /account#part HTTP/1.1", HOST],
    "absolute": [b"GET http://other/account HTTP/1.1", HOST],
    "asterisk": [b"OPTIONS * HTTP/1.1", HOST],
    "http-1.0": [b"GET /account HTTP/1.0", HOST, b"Connection: keep-alive"],
    "closes": [GET, HOST, b"Connection: close"],
    "two-hosts": [GET, HOST, HOST],
    "two-hosts-apart": [GET, HOST, TOKEN, b"host: localhost:9001"],
    "two-types": [b"POST / HTTP/1.1", HOST, TYPE, TYPE],
    "two-lengths": [b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Content-Length: 5"],
    "two-tokens": [GET, HOST, TOKEN, b"authorization: Bearer d.e.f"],
    "two-accepts": [GET, HOST, b"Accept: a/b", b"Accept: c/d"],
    "length-and-chunks": [
        b"POST / HTTP/1.1",
        HOST,
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
    ],
    "chunks": [b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked"],
    "no-number": [b"POST / HTTP/1.1", HOST, b"Content-Length: five"],
    "expects": [b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Expect: 100-continue"],
    "expects-else": [GET, HOST, b"Expect: something"],
    "expects-1.0": [b"POST / HTTP/1.0", HOST, b"Content-Length: 5", b"Expect: 100-continue"],
    "traced": [GET, HOST, TRACE, TOKEN],
    "behind-a-proxy": [GET, HOST, TOKEN, b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https"],
    "folded-and-bad": [GET, HOST, b"Authorization: a\x01b", b" folded"],
    "two-hosts-and-bad": [GET, HOST, HOST, b"Authorization: " + b"a" * 9000],
    "many-tokens": [GET, HOST, *[TOKEN] * 101],
    "many-and-bad": [
        GET,
        HOST,
        *[b"X-%d: 1" % number for number in range(101)],
        b"Authorization: \0",
    ],
    "scheme": [GET, HOST, b"X-Forwarded-Proto: https"],
    "schemes": [GET, HOST, b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"],
    "folded": [GET, HOST, TOKEN, b" and.more"],
    "folded-host": [GET, HOST, b"\tmore"],
    "underscore": [GET, HOST, b"X_Forwarded_For: 1.2.3.4"],
    "no-colon": [GET, HOST, b"nonsense"],
    "no-name": [GET, HOST, b": value"],
    "space-in-name": [GET, HOST, b"Authorization : Bearer a.b.c"],
    "space-in-usual": [GET, b"Host : localhost:9001"],
    "control-in-token": [GET, HOST, b"Authorization: Bearer a\x01b"],
    "control-in-host": [GET, b"Host: local\x7fhost"],
    "line-feed": [GET, HOST, b"Accept: a\nX: b"],
    "latin-1": [GET, HOST, b"User-Agent: \xe9", b"Authorization: Bearer \xff"],
    "long-token": [GET, HOST, b"Authorization: Bearer " + b"a" * 9000],
    "long-agent": [GET, HOST, b"User-Agent: " + b"a" * 9000],
    "many": [GET, HOST, *[b"X-%d: 1" % number for number in range(101)]],
    "token-of-the-limit": [GET, HOST, b"Authorization: ".ljust(8188, b"a")],
    "token-over-the-limit": [GET, HOST, b"Authorization: ".ljust(8189, b"a")],
    "no-space-before-token": [GET, HOST, b"Authorization:Bearer a.b.c"],
    "spaces-before-token": [GET, HOST, b"Authorization:  Bearer a.b.c"],
    "space-after-token": [GET, HOST, b"Authorization: Bearer a.b.c "],
    "feed-before-token": [GET, HOST, b"Authorization:\nBearer a.b.c"],
    "spaces-in-token": [GET, HOST, b"Authorization: Bearer  a.b.c"],
    "tab-in-token": [GET, HOST, b"Authorization: Bearer\ta.b.c"],
    "no-token-there": [GET, HOST, b"Authorization: "],
    "feed-after-token": [GET, HOST, b"Authorization: Bearer a.b.c\n"],
    "capitals": [GET, HOST, b"AUTHORIZATION: Bearer a.b.c"],
    "lower-case": [GET, b"host: localhost:9001", b"authorization: bearer a.b.c"],
    "bad-method": [b"get /account HTTP/1.1", HOST],
    "bad-version": [b"GET /account HTTP/2.0", HOST],
    "bad-target": [b"GET account HTTP/1.1", HOST],
    "bad-line": [b"GET /account", HOST],
    "long-line": [b"GET /" + b"a" * 9000 + b" HTTP/1.1", HOST],
    "octets-in-line": [b"GET /\xe9 HTTP/1.1", HOST],
}


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[bytes, tuple[str, str]]]:
    """The headers that a process knows, which has just begun."""
    usual: dict[bytes, tuple[str, str]] = {}
    monkeypatch.setattr(RequestOfUsualLines, "usual", usual)
    gunicorn_request._of_request_line.cache_clear()
    yield usual
    gunicorn_request._of_request_line.cache_clear()


def read_by(kind: type[Request], lines: list[bytes], config: Config = CONFIG) -> Any:
    """Return all that a request of ``kind`` says of the head, or why it is none."""
    try:
        request = kind(config, IterUnreader([b"\r\n".join([*lines, b"", b"whole"])]), PEER)
    except ParseException as error:
        return type(error), str(error)
    said = {name: value for name, value in vars(request).items() if name != "unreader"}
    body = said.pop("body")
    return said, type(body.reader), request.should_close()


def body_read_by(kind: type[Request], lines: list[bytes]) -> Any:
    request = kind(CONFIG, IterUnreader([b"\r\n".join([*lines, b"", b""])]), PEER)
    try:
        return request.body.read(), request.trailers
    except ParseException as error:
        return type(error), str(error)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_says_what_it_says_to_gunicorn_however_often_it_comes(head: list[bytes]) -> None:
    for usual_one in (HEADS["usual"], HEADS["post"], HEADS["http-1.0"]):
        read_by(RequestOfUsualLines, usual_one)

    expected = read_by(Request, head)

    assert [read_by(RequestOfUsualLines, head) for _ in range(3)] == [expected] * 3


def test_heads_of_any_lines_say_what_they_say_to_gunicorn() -> None:
    drawn = random.Random(8)  # noqa: S311
    first = sorted({head[0] for head in HEADS.values()})
    lines = sorted({line for head in HEADS.values() for line in head[1:] if len(line) < 100})
    for _ in range(3000):
        head = [drawn.choice(first), *drawn.choices(lines, k=drawn.randrange(5))]

        assert read_by(RequestOfUsualLines, head) == read_by(Request, head), head


@pytest.mark.parametrize(
    "trailers", [[b"Host: localhost:9001"], [TOKEN], [b"Accept: */*"], [b"X-Sum: 1"]]
)
def test_trailers_are_what_they_are_to_gunicorn(trailers: list[bytes]) -> None:
    head = [b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked", b"", b"2", b"ab", b"0"]
    read_by(RequestOfUsualLines, HEADS["usual"])

    expected = body_read_by(Request, [*head, *trailers])

    assert [body_read_by(RequestOfUsualLines, [*head, *trailers]) for _ in range(2)] == [
        expected
    ] * 2


def test_no_more_headers_than_the_limit_are_taken_though_all_are_usual() -> None:
    config = Config()
    config.set("limit_request_fields", 2)
    head = [GET, HOST, TOKEN, b"Accept: */*"]
    read_by(RequestOfUsualLines, head)

    assert read_by(RequestOfUsualLines, head, config) == read_by(Request, head, config)
    assert isinstance(read_by(RequestOfUsualLines, head, config)[1], str)


def test_what_is_usual_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    head = [*HEADS["post"], TRACE]
    read_by(RequestOfUsualLines, HEADS["post"])
    parsed: list[bytes] = []
    gunicorns = Request.parse_headers

    def parse(request: Request, data: bytes, from_trailer: bool = False) -> Any:
        parsed.append(data)
        return gunicorns(request, data, from_trailer)

    monkeypatch.setattr(Request, "parse_headers", parse)
    monkeypatch.delattr(Request, "parse_request_line")
    said, *_ = read_by(RequestOfUsualLines, head)

    assert parsed == [TOKEN + b"\r\n" + TRACE]
    assert (said["method"], said["path"]) == ("POST", "/oidc/token")


@pytest.mark.parametrize("name", [b"Authorization", b"authorization"])
def test_plain_credentials_are_not_judged_by_gunicorn(
    name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_by(RequestOfUsualLines, HEADS["no-token"])
    monkeypatch.delattr(Message, "parse_headers")

    said, *_ = read_by(RequestOfUsualLines, [GET, HOST, name + b": Bearer a.b.c"])

    assert said["headers"] == [("HOST", "localhost:9001"), ("AUTHORIZATION", "Bearer a.b.c")]


def test_no_secret_is_kept(usual: dict[bytes, tuple[str, str]]) -> None:
    cookie = b"Cookie: secret"
    user = [b"GET http://user:secret@host/ HTTP/1.1", HOST]
    for head in (HEADS["usual"], HEADS["query"], user, [GET, HOST, TOKEN, cookie]):
        read_by(RequestOfUsualLines, head)

    assert set(usual) == {HOST, b"Accept: */*"}
    assert gunicorn_request._of_request_line.cache_info().currsize == 1


def test_no_more_is_kept_than_the_bounds(usual: dict[bytes, tuple[str, str]]) -> None:
    for number in range(3 * MOST_LINES):
        line = b"GET /%d HTTP/1.1" % number
        read_by(RequestOfUsualLines, [line, HOST, b"Accept: a/%d" % number])
    read_by(RequestOfUsualLines, [GET, b"User-Agent: " + b"a" * LONGEST_LINE])
    before = gunicorn_request._of_request_line.cache_info()
    read_by(RequestOfUsualLines, [b"GET /" + b"a" * LONGEST_LINE + b" HTTP/1.1", HOST])

    assert gunicorn_request._of_request_line.cache_info() == before
    assert len(usual) <= MOST_LINES
    assert max(map(len, usual)) <= LONGEST_LINE
    assert gunicorn_request._of_request_line.cache_info().currsize == MOST_LINES


def test_a_known_header_takes_no_other_ones_place(usual: dict[bytes, tuple[str, str]]) -> None:
    for number in range(MOST_LINES):
        read_by(RequestOfUsualLines, [GET, HOST if number == 0 else b"Host: %d" % number])
    read_by(RequestOfUsualLines, [GET, HOST, b"Cookie: a=b"])

    assert len(usual) == MOST_LINES


def test_one_request_does_not_change_what_the_next_one_says() -> None:
    unreaders = [IterUnreader([b"\r\n".join([GET, HOST, b"", b""])]) for _ in range(3)]
    first = RequestOfUsualLines(CONFIG, unreaders[0], PEER)
    second = RequestOfUsualLines(CONFIG, unreaders[1], PEER)
    second.path, second.method = "/else", "PUT"
    second.headers.append(("X", "y"))
    third = RequestOfUsualLines(CONFIG, unreaders[2], PEER)

    assert (third.path, third.method, third.headers) == (first.path, first.method, first.headers)
