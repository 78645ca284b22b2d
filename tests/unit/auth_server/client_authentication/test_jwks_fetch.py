import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auth_server.client_authentication.jwks_fetch import (
    LARGEST_DOCUMENT_BYTES,
    FetchError,
    JwksFetch,
    addresses_of,
)
from tests.stack.loopback import LoopbackServer, Reply
from tests.stack.tls import own_certificate

DOCUMENT = {"keys": [{"kty": "OKP"}]}
INTERNAL = JwksFetch(5, may_be_internal=True, may_be_plain_http=True)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        running.reply("/jwks", Reply(document=DOCUMENT))
        yield running


@contextmanager
def speaking(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that answers one connection as it likes; give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    answer(connection)
                except OSError:
                    return  # who asked has given up

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/jwks"
        thread.join()


def saying(octets: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(octets)


def test_a_document_is_fetched(server: LoopbackServer) -> None:
    assert INTERNAL(f"{server.url}/jwks?of=me") == DOCUMENT
    asked = server.asked[0]
    assert (asked.method, asked.query) == ("GET", {"of": "me"})
    assert asked.headers["host"] == server.url.removeprefix("http://")


def test_nothing_of_ours_is_sent_along(server: LoopbackServer) -> None:
    INTERNAL(f"{server.url}/jwks")
    assert set(server.asked[0].headers) == {"host", "accept", "accept-encoding", "connection"}


@pytest.mark.parametrize(
    "reply",
    [Reply(404), Reply(500), Reply(204), Reply(302, headers={"Location": "/other"}),
     Reply(body=b"no JSON"), Reply(document=[]), Reply(body=b'{"a": 1, "a": 2}'),
     Reply(body=b" " * (LARGEST_DOCUMENT_BYTES + 1)),
     Reply(document=DOCUMENT, headers={"Transfer-Encoding": "chunked"})],
    ids=["not found", "failing", "no content", "redirect", "no JSON", "array", "member twice",
         "too large", "no chunks"],
)  # fmt: skip
def test_another_answer_than_a_small_json_object_is_an_error(
    server: LoopbackServer, reply: Reply
) -> None:
    server.reply("/jwks", reply)
    with pytest.raises(FetchError):
        INTERNAL(f"{server.url}/jwks")
    assert server.paths() == ["/jwks"]


@pytest.mark.parametrize(
    "octets",
    [b"", b"HTTP/1.1 200", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
     b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000, b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 1_000_000,
     b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"keys'],
    ids=["nothing", "half a line", "no HTTP", "many headers", "long header", "endless", "cut off"],
)  # fmt: skip
def test_what_breaks_http_is_an_error(octets: bytes) -> None:
    with speaking(saying(octets)) as url, pytest.raises(FetchError):
        INTERNAL(url)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_drops_do_not_make_a_fetch_last_longer(start: bytes) -> None:
    given_up = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while not given_up.wait(0.05):
            connection.sendall(b"a")

    started = time.monotonic()
    with speaking(drip) as url:
        try:
            with pytest.raises(FetchError, match="Timeout"):
                JwksFetch(0.3, may_be_internal=True, may_be_plain_http=True)(url)
        finally:
            given_up.set()
    assert time.monotonic() - started < 3


def test_a_server_that_never_answers_is_given_up() -> None:
    given_up = threading.Event()

    def wait(_connection: socket.socket) -> None:
        given_up.wait()

    with speaking(wait) as url:
        try:
            with pytest.raises(FetchError, match="Timeout"):
                JwksFetch(0.2, may_be_internal=True, may_be_plain_http=True)(url)
        finally:
            given_up.set()


def test_a_name_that_is_looked_up_for_too_long_is_given_up() -> None:
    given_up = threading.Event()

    def look_up(_host: str, _port: int) -> list[str]:
        given_up.wait()
        return []

    fetch = JwksFetch(0.1, look_up=look_up)
    try:
        with pytest.raises(FetchError, match="Timeout"):
            fetch("https://slow.example/jwks")
    finally:
        given_up.set()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_an_internal_address_is_refused_before_anything_connects(
    server: LoopbackServer, host: str
) -> None:
    port = server.url.rpartition(":")[2]
    fetch = JwksFetch(5, may_be_plain_http=True)
    with pytest.raises(FetchError, match="not public"):
        fetch(f"http://{host}:{port}/jwks")
    assert server.asked == []


def test_one_internal_address_among_public_ones_is_enough_to_refuse(
    server: LoopbackServer,
) -> None:
    fetch = JwksFetch(5, may_be_plain_http=True, look_up=lambda _h, _p: ["8.8.8.8", "127.0.0.1"])
    with pytest.raises(FetchError, match="not public"):
        fetch(f"{server.url}/jwks")


def test_a_name_is_looked_up_once_so_that_no_second_answer_counts(server: LoopbackServer) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    fetch = JwksFetch(
        5, may_be_internal=True, may_be_plain_http=True, look_up=lambda _h, _p: answers.pop(0)
    )
    url = server.url.replace("127.0.0.1", "rebinding.example")
    assert fetch(f"{url}/jwks") == DOCUMENT
    assert answers == [["10.0.0.1"]]


def test_the_next_address_is_tried_where_one_refuses(server: LoopbackServer) -> None:
    fetch = JwksFetch(
        5,
        may_be_internal=True,
        may_be_plain_http=True,
        look_up=lambda _h, _p: ["127.0.0.2", "127.0.0.1"],
    )
    assert fetch(f"{server.url}/jwks") == DOCUMENT


@pytest.mark.parametrize("found", [[], ["127.0.0.2"]], ids=["none", "refusing"])
def test_a_host_that_cannot_be_connected_to_is_an_error(
    server: LoopbackServer, found: list[str]
) -> None:
    fetch = JwksFetch(5, may_be_internal=True, may_be_plain_http=True, look_up=lambda _h, _p: found)
    with pytest.raises(FetchError):
        fetch(f"{server.url}/jwks")


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FetchError):
        INTERNAL("https://no-such-host.invalid/jwks")


def test_plain_http_is_refused_where_it_is_not_allowed(server: LoopbackServer) -> None:
    with pytest.raises(FetchError, match="not https"):
        JwksFetch(5, may_be_internal=True)(f"{server.url}/jwks")
    assert server.asked == []


def test_https_is_spoken_with_who_has_the_hosts_certificate(
    server: LoopbackServer, tmp_path: Path
) -> None:
    ca, server_file = own_certificate(tmp_path, "localhost")
    server.speak_tls(server_file)
    fetch = JwksFetch(5, may_be_internal=True, ca_file=ca)
    assert fetch(f"{server.url}/jwks") == DOCUMENT


@pytest.mark.parametrize("trusted", [True, False], ids=["another host's", "nobody vouches"])
def test_a_certificate_that_is_not_the_hosts_is_refused(
    server: LoopbackServer, tmp_path: Path, trusted: bool
) -> None:
    ca, server_file = own_certificate(tmp_path, "elsewhere.example" if trusted else "localhost")
    server.speak_tls(server_file)
    fetch = JwksFetch(5, may_be_internal=True, ca_file=ca if trusted else None)
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(f"{server.url}/jwks")
    assert server.asked == []


def test_the_resolver_gives_the_addresses_of_a_name() -> None:
    assert "127.0.0.1" in addresses_of("127.0.0.1", 443)
