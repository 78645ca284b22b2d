import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest
from gunicorn.config import Config
from gunicorn.http import message, wsgi
from gunicorn.http.errors import InvalidResponseHeader as InvalidHeader
from gunicorn.http.errors import InvalidResponseHeaderName as InvalidName
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from shared.gunicorn_request import RequestOfUsualLines
from shared.gunicorn_worker import (
    MOST_HEADERS_REMEMBERED,
    PATIENCE_SECONDS,
    AnswerInOnePiece,
    WholeRequestWorker,
    is_invalid_in_a_header,
)
from tests.stack.local_stack import free_ports
from tests.unit.shared.wsgi_application import LONG

SECONDS = 20
APPLICATION = "tests.unit.shared.wsgi_application:application"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: localhost\r\n"
MORE_THAN_WAIT = 9
WITHOUT_THREADS = ("--worker-class", "shared.gunicorn_worker.WholeRequestWorker")
WITH_THREADS = (
    "--worker-class",
    "shared.gunicorn_worker.ImpatientThreadWorker",
    "--threads",
    "4",
)


@dataclass
class Server:
    """gunicorn with one worker of ours."""

    port: int
    process: subprocess.Popen[bytes]

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, SECONDS)

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), SECONDS)

    def answers(self) -> bool:
        with closing(self.client()) as client:
            try:
                client.request("GET", "/")
                return client.getresponse().status == 200
            except OSError:
                return False


@contextmanager
def running(*more: str, worker: Sequence[str] = WITHOUT_THREADS) -> Iterator[Server]:
    (port,) = free_ports(1)
    options = [*worker, *more]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, APPLICATION], stderr=subprocess.DEVNULL)
    server = Server(port, process)
    try:
        deadline = time.monotonic() + SECONDS
        while not server.answers():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def server() -> Iterator[Server]:
    """One whose worker does without threads."""
    with running() as started:
        yield started


@pytest.fixture(params=[WITH_THREADS, WITHOUT_THREADS], ids=["with-threads", "without"])
def either(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One with the one worker, and one with the other."""
    with running(worker=request.param) as started:
        yield started


def test_a_worker_without_threads_answers_one_request_after_the_other_on_a_connection(
    server: Server,
) -> None:
    with closing(server.client()) as client:
        client.connect()
        first = client.sock
        for _ in range(3):
            client.request("GET", "/")
            answer = client.getresponse()
            answer.read()

            assert (answer.status, client.sock) == (200, first)


def test_a_worker_without_threads_answers_each_of_many_requests_that_come_at_once(
    server: Server,
) -> None:
    with server.connected() as connection:
        connection.sendall(REQUEST * 100)
        received = b""
        deadline = time.monotonic() + SECONDS
        while received.count(b"HTTP/1.1 200 OK") < 100:
            assert time.monotonic() < deadline
            received += connection.recv(65536)


def test_a_connection_on_which_nothing_comes_holds_up_no_worker_without_threads(
    server: Server,
) -> None:
    with server.connected(), server.connected():
        began = time.monotonic()

        assert server.answers()
        assert time.monotonic() - began < 4  # a worker that waited for them would take five


def test_a_worker_without_threads_ends_when_it_is_told_to(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(SECONDS) == 0


def received_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def received_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


@pytest.mark.parametrize(
    "pieces",
    [
        [PUT + b"Content-Length: 5\r\n\r\nwhole"],
        [PUT + b"Content-Length: 5\r\n\r\n", b"whole"],
        [PUT[:20], PUT[20:] + b"content-length: 5\r\n\r\nwh", b"ole"],
        [PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"],
        [PUT + b"Transfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n", b"3\r\nole\r\n0\r\n\r\n"],
    ],
    ids=["whole", "body-later", "three-pieces", "chunked", "chunks-later"],
)
def test_a_request_is_answered_in_whatever_pieces_it_comes_and_so_is_the_next_one(
    server: Server, pieces: list[bytes]
) -> None:
    with server.connected() as connection:
        for _ in range(2):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.1)  # so that the pieces arrive one by one

            assert received_until(connection, b"PUT whole").startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "begun",
    [PUT + b"Content-Length: 5\r\n\r\nwh", PUT + b"Content-Length: 0\r\nX-Next"],
    ids=["body", "head"],
)
def test_whoever_is_slow_to_send_holds_up_nobody(server: Server, begun: bytes) -> None:
    with ExitStack() as held:
        for _ in range(MORE_THAN_WAIT):
            held.enter_context(server.connected()).sendall(begun)
        began = time.monotonic()

        assert all(server.answers() for _ in range(20))
        assert time.monotonic() - began < 4  # a worker that waited for one would take five


def test_a_body_that_the_application_did_not_read_is_no_request(server: Server) -> None:
    with server.connected() as connection:
        head = f"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
        connection.sendall(head.encode() + REQUEST)
        received_until(connection, b"POST")
        connection.sendall(PUT + b"Content-Length: 5\r\n\r\nwhole")

        assert received_until(connection, b"PUT whole").count(b"HTTP/1.1") == 1


def test_an_answer_to_head_has_no_body(either: Server) -> None:
    with closing(either.client()) as client:
        for _ in range(2):
            client.request("HEAD", "/")
            answer = client.getresponse()

            assert (answer.status, answer.read()) == (200, b"")


def test_an_answer_may_come_in_pieces_of_unknown_number(either: Server) -> None:
    with closing(either.client()) as client:
        client.request("GET", "/pieces")

        assert client.getresponse().read() == b"one two three"


def test_an_answer_of_unknown_length_ends_with_the_connection_for_who_knows_no_chunks(
    either: Server,
) -> None:
    with either.connected() as connection:
        connection.sendall(b"GET /pieces HTTP/1.0\r\nHost: localhost\r\n\r\n")
        head, _, body = received_to_the_end(connection).partition(b"\r\n\r\n")

    assert b"\r\nConnection: close\r\n" in head
    assert body == b"one two three"


@pytest.mark.parametrize(
    ("method", "path", "status", "says_length"),
    [
        pytest.param("GET", "/nothing", 204, False, id="no-content"),
        pytest.param("GET", "/no-pieces", 200, False, id="no-pieces"),
        pytest.param("HEAD", "/pieces", 200, False, id="head-of-pieces"),
        pytest.param("HEAD", "/", 200, True, id="head"),
    ],
)
def test_after_an_answer_without_a_body_the_next_begins_where_it_should(
    either: Server, method: str, path: str, status: int, says_length: bool
) -> None:
    with closing(either.client()) as client:
        client.connect()
        first = client.sock
        client.request(method, path)
        bodiless = client.getresponse()
        assert (bodiless.status, bodiless.read()) == (status, b"")
        assert ("Content-Length" in bodiless.headers) is says_length
        client.request("GET", "/")
        assert (client.getresponse().read(), client.sock) == (b"GET ", first)


def test_each_answer_on_a_connection_has_its_own_length(either: Server) -> None:
    bodies = [b"one", b"one", b"eleven", b"", b"one"]
    with closing(either.client()) as client:
        answers = []
        for body in bodies:
            client.request("PUT", "/", body)
            answer = client.getresponse()
            answers.append((answer.headers["Content-Length"], answer.read()))

    assert answers == [(str(len(b"PUT " + body)), b"PUT " + body) for body in bodies]


def test_head_and_body_of_an_answer_arrive_together(either: Server) -> None:
    with either.connected() as connection:
        connection.sendall(REQUEST)

        assert connection.recv(65536).endswith(b"\r\n\r\nGET ")


def test_an_answer_says_who_answered_when_and_whether_the_connection_stays(either: Server) -> None:
    with closing(either.client()) as client:
        client.request("GET", "/")
        stays = client.getresponse()
        stays.read()
        client.request("GET", "/", headers={"Connection": "close"})
        ends = client.getresponse()

    assert stays.headers["Server"] == "gunicorn"
    assert abs(parsedate_to_datetime(stays.headers["Date"]).timestamp() - time.time()) < SECONDS
    assert (stays.headers["Connection"], ends.headers["Connection"]) == ("keep-alive", "close")


def test_whoever_takes_no_answers_is_given_up(server: Server) -> None:
    with server.connected() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        time.sleep(PATIENCE_SECONDS + 1)

        assert server.answers()


def test_what_is_no_http_is_refused(server: Server) -> None:
    with server.connected() as connection:
        connection.sendall(b"nonsense\r\n\r\n")

        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("place", ["{}", "Bearer {}token", "{}token", "token{}"])
def test_what_is_invalid_in_a_header_is_what_gunicorn_says(place: str) -> None:
    gunicorns = message.RFC9110_5_5_INVALID_AND_DANGEROUS
    assert isinstance(gunicorns, re.Pattern)
    values = ["", "\r\n", "a\n", *(place.format(chr(octet)) for octet in range(256))]

    found = {value for value in values if is_invalid_in_a_header(value)}

    assert found == {value for value in values if gunicorns.search(value)}
    assert place.format("\0") in found
    assert place.format("\t") not in found


@pytest.mark.parametrize("octet", [b"\0", b"\x1f", b"\x7f"])
def test_a_header_with_a_control_character_is_refused(either: Server, octet: bytes) -> None:
    with either.connected() as connection:
        connection.sendall(REQUEST[:-2] + b"Authorization: Bearer a" + octet + b"b\r\n\r\n")

        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_length_of_more_digits_than_python_reads_is_refused_and_the_worker_lives(
    server: Server,
) -> None:
    with server.connected() as kept, server.connected() as connection:
        kept.sendall(REQUEST)
        received_until(kept, b"GET ")
        connection.sendall(PUT + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n")

        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        kept.sendall(REQUEST)
        received_until(kept, b"GET ")


def test_whoever_takes_no_answers_holds_up_nobody(server: Server) -> None:
    with server.connected() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        time.sleep(0.5)
        began = time.monotonic()

        assert server.answers()
        assert time.monotonic() - began < 2  # a worker that waited for it would take five


def test_whoever_takes_answers_slowly_gets_all_of_them(either: Server) -> None:
    with either.connected() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10 + REQUEST)
        time.sleep(0.5)
        received = received_until(connection, b"GET ")

        assert received.count(LONG) == 10


def test_long_pieces_arrive_on_a_connection_that_was_with_a_thread_before(either: Server) -> None:
    with either.connected() as connection:
        connection.sendall(PUT + b"Content-Length: 5\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(b"whole")
        received_until(connection, b"PUT whole")
        connection.sendall(b"GET /long-pieces HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.5)

        assert received_until(connection, b"\r\n0\r\n\r\n").count(LONG) == 5


def test_whoever_does_not_close_holds_up_nobody(server: Server) -> None:
    with ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(server.connected())
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received_until(connection, b"GET ")
        began = time.monotonic()

        assert server.answers()
        assert time.monotonic() - began < 1  # a worker that waited for each would take six


def test_a_worker_that_has_much_to_do_is_not_taken_for_one_that_hangs() -> None:
    with running("--timeout", "3") as server, ExitStack() as held:
        connections = [held.enter_context(server.connected()) for _ in range(7)]
        for connection in connections:
            connection.sendall(REQUEST)
            received_until(connection, b"GET ")
        for connection in connections:  # while it handles the first, all the others come
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")

        for connection in connections:
            received_until(connection, b"GET ")


def test_a_request_that_comes_while_the_worker_is_busy_is_answered_in_the_end() -> None:
    with running("--keep-alive", "1") as server, ExitStack() as held:
        kept, busy, new = (held.enter_context(server.connected()) for _ in range(3))
        for connection in (kept, busy):
            connection.sendall(REQUEST)
            received_until(connection, b"GET ")
        busy.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        time.sleep(0.2)
        for connection in (kept, new):
            connection.sendall(REQUEST)

        for connection in (kept, new):  # the worker finds it when more than a second has passed
            received_until(connection, b"GET ")


def test_whoever_is_answered_as_the_worker_is_told_to_stop_gets_it_all(server: Server) -> None:
    with server.connected() as new, server.connected() as kept, server.connected() as slow:
        kept.sendall(REQUEST)
        received_until(kept, b"GET ")
        slow.sendall(PUT + b"Content-Length: 5\r\n\r\nwh")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        slow.sendall(b"ole")
        new.sendall(REQUEST)
        kept.sendall(REQUEST)

        received_until(slow, b"PUT whole")
        assert b"Connection: close" in received_until(new, b"GET ")
        assert b"Connection: close" in received_until(kept, b"GET ")
    assert server.process.wait(SECONDS) == 0


def test_a_worker_without_threads_refuses_tls_at_the_start() -> None:
    options = [
        "--worker-class",
        "shared.gunicorn_worker.WholeRequestWorker",
        "--certfile",
        __file__,
    ]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", "127.0.0.1:0", APPLICATION]
    told = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    assert told.returncode != 0
    assert told.stderr.splitlines()[-1].endswith("speaks no TLS: have a proxy end it")
    assert "Traceback" not in told.stderr


class Threads:
    """Threads that only tell what they were given."""

    def __init__(self) -> None:
        self.given: list[object] = []

    def submit(self, _function: object, conn: object) -> Future[object]:
        self.given.append(conn)
        return Future()


def test_a_worker_has_its_requests_and_answers_made_by_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[object] = []

    def init(_worker: object) -> None:
        invalid = message.RFC9110_5_5_INVALID_AND_DANGEROUS.search
        found.extend([wsgi.Response, RequestParser.mesg_class, invalid])

    for place, name in [
        (wsgi, "Response"),
        (wsgi, "WSGIErrorsWrapper"),
        (RequestParser, "mesg_class"),
        (message, "RFC9110_5_5_INVALID_AND_DANGEROUS"),
    ]:
        monkeypatch.setattr(place, name, getattr(place, name))  # so that it is put back
    monkeypatch.setattr(ThreadWorker, "init_process", init)
    worker = object.__new__(WholeRequestWorker)
    worker.cfg = Config()
    worker.init_process()

    assert found == [WholeRequestWorker.answers, RequestOfUsualLines, is_invalid_in_a_header]


def test_a_connection_that_is_accepted_as_the_worker_stops_is_served_and_not_closed() -> None:
    worker = object.__new__(WholeRequestWorker)
    worker.alive = False  # SIGTERM came between the poll and the accept
    threads = worker.tpool = Threads()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = TConn(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        worker.enqueue_req(conn)

        assert threads.given == [conn]


@dataclass
class Question:
    """What an answer asks of the request that it is for."""

    closes: bool = False
    method: str = "GET"
    version: tuple[int, int] = (1, 1)

    def should_close(self) -> bool:
        return self.closes


class Peer:
    """A socket that only keeps what is sent, each piece for itself."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.pieces.append(data)


class TestAnswerInOnePiece:
    """What is judged once, what each time, and how it is sent."""

    @pytest.fixture(autouse=True)
    def remembered(self, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
        """The headers that a worker remembers, which has just begun."""
        remembered: set[tuple[str, str]] = set()
        monkeypatch.setattr(AnswerInOnePiece, "_judged_before", remembered)
        return remembered

    @pytest.fixture
    def peer(self) -> Peer:
        return Peer()

    def answer(
        self, *headers: object, peer: Peer | None = None, question: Question | None = None
    ) -> AnswerInOnePiece:
        answer = AnswerInOnePiece(question or Question(), peer or Peer(), Config())
        answer.start_response("200 OK", list(headers))
        return answer

    def test_a_good_header_stands_in_each_answer(self, remembered: set[tuple[str, str]]) -> None:
        good = [("Cache-Control", "no-store"), ("X-Two", "1"), ("X-Two", "2")]

        assert [self.answer(*good).headers for _ in range(3)] == [good] * 3
        assert remembered == set(good)

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            pytest.param(("Cache Control", "no-store"), InvalidName, id="space-in-the-name"),
            pytest.param(("Cache-Control:", "no-store"), InvalidName, id="colon"),
            pytest.param(("", "no-store"), InvalidName, id="no-name"),
            pytest.param(("Cache-Control", "a\r\nSet-Cookie: b"), InvalidHeader, id="two-lines"),
            pytest.param(("Cache-Control", "no-store\n"), InvalidHeader, id="line-end"),
            pytest.param(("Cache-Control", "a\0"), InvalidHeader, id="nul"),
            pytest.param(("Cache-Control", b"no-store"), TypeError, id="octets"),
            pytest.param((b"Cache-Control", "no-store"), TypeError, id="name-of-octets"),
            pytest.param(("Content-Length", "many"), ValueError, id="no-number"),
        ],
    )
    def test_a_bad_header_is_refused_each_time(
        self, bad: tuple[object, object], error: type[Exception]
    ) -> None:
        good = ("Cache-Control", "no-store")
        for _ in range(3):
            self.answer(good)
            with pytest.raises(error):
                self.answer(good, bad)

    @pytest.mark.parametrize("name", ["Content-Length", "content-length", "CONTENT-LENGTH"])
    def test_a_length_is_read_each_time(self, name: str) -> None:
        answers = [self.answer((name, length)) for length in ("5", "5", "7", "5")]

        assert [answer.response_length for answer in answers] == [5, 5, 7, 5]
        assert not any(answer.chunked for answer in answers)

    @pytest.mark.parametrize(
        "dropped",
        [
            ("Connection", "close"),
            ("Keep-Alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
        ],
        ids=lambda header: header[0],
    )
    def test_what_is_for_the_next_hop_alone_is_dropped_each_time(
        self, dropped: tuple[str, str]
    ) -> None:
        good = ("Cache-Control", "no-store")

        assert [self.answer(good, dropped, good).headers for _ in range(3)] == [[good, good]] * 3

    def test_the_space_around_a_value_is_taken_off_each_time(self) -> None:
        answers = [self.answer(("X-One", "\t 1 ")) for _ in range(3)]

        assert [answer.headers for answer in answers] == [[("X-One", "1")]] * 3

    def test_no_more_headers_are_remembered_than_the_bound(
        self, remembered: set[tuple[str, str]]
    ) -> None:
        many = [("X-Request", str(number)) for number in range(2 * MOST_HEADERS_REMEMBERED)]

        assert [self.answer(*many).headers for _ in range(2)] == [many] * 2
        assert len(remembered) == MOST_HEADERS_REMEMBERED
        with pytest.raises(InvalidHeader):
            self.answer(("X-Request", "\n"))

    def test_head_and_body_are_sent_together(self, peer: Peer) -> None:
        answer = self.answer(("Content-Length", "4"), peer=peer)
        answer.write(b"body")
        answer.close()
        [sent] = peer.pieces

        assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
        assert sent.endswith(b"\r\nContent-Length: 4\r\n\r\nbody")

    def test_of_several_pieces_the_first_is_sent_with_the_head(self, peer: Peer) -> None:
        answer = self.answer(peer=peer)
        for piece in (b"", b"one", b"", b"two"):
            answer.write(piece)
        answer.close()

        assert peer.pieces[0].endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert peer.pieces[1:] == [b"3\r\ntwo\r\n", b"0\r\n\r\n"]

    def test_a_head_alone_is_sent_once(self, peer: Peer) -> None:
        answer = self.answer(("Content-Length", "4"), peer=peer, question=Question(method="HEAD"))
        answer.close()
        answer.close()
        [sent] = peer.pieces

        assert sent.endswith(b"\r\nContent-Length: 4\r\n\r\n")

    @pytest.mark.parametrize(
        ("closes", "said"), [(False, b"keep-alive"), (True, b"close")], ids=["stays", "closes"]
    )
    def test_a_connection_ends_or_stays_as_the_head_has_said(
        self, closes: bool, said: bytes, peer: Peer
    ) -> None:
        question = Question(closes)
        answer = self.answer(("Content-Length", "4"), peer=peer, question=question)
        answer.write(b"body")
        question.closes = not closes

        assert b"\r\nConnection: " + said + b"\r\n" in peer.pieces[0]
        assert answer.should_close() is closes

    def test_until_the_head_is_made_a_connection_may_be_told_to_end(self, peer: Peer) -> None:
        answer = self.answer(("Content-Length", "4"), peer=peer)
        stays = not answer.should_close()
        answer.force_close()
        answer.write(b"body")

        assert (stays, answer.should_close()) == (True, True)
        assert b"\r\nConnection: close\r\n" in peer.pieces[0]
