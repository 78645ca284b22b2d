import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from shared.gunicorn_worker import PATIENCE_SECONDS, WholeRequestWorker
from tests.stack.local_stack import free_ports
from tests.unit.shared.wsgi_application import LONG

SECONDS = 20
APPLICATION = "tests.unit.shared.wsgi_application:application"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: localhost\r\n"
MORE_THAN_WAIT = 9


@dataclass
class Server:
    """gunicorn with one worker of ours that does without threads."""

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
def running(*more: str) -> Iterator[Server]:
    (port,) = free_ports(1)
    options = ["--worker-class", "shared.gunicorn_worker.WholeRequestWorker", *more]
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
    with running() as started:
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


def test_an_answer_to_head_has_no_body(server: Server) -> None:
    with closing(server.client()) as client:
        for _ in range(2):
            client.request("HEAD", "/")
            answer = client.getresponse()

            assert (answer.status, answer.read()) == (200, b"")


def test_an_answer_may_come_in_pieces_of_unknown_number(server: Server) -> None:
    with closing(server.client()) as client:
        client.request("GET", "/pieces")

        assert client.getresponse().read() == b"one two three"


def test_an_answer_says_who_answered_when_and_whether_the_connection_stays(server: Server) -> None:
    with closing(server.client()) as client:
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


def test_whoever_takes_answers_slowly_gets_all_of_them(server: Server) -> None:
    with server.connected() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10 + REQUEST)
        time.sleep(0.5)
        received = received_until(connection, b"GET ")

        assert received.count(LONG) == 10


def test_long_pieces_arrive_on_a_connection_that_was_with_a_thread_before(server: Server) -> None:
    with server.connected() as connection:
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


def test_a_connection_that_is_accepted_as_the_worker_stops_is_served_and_not_closed() -> None:
    worker = object.__new__(WholeRequestWorker)
    worker.alive = False  # SIGTERM came between the poll and the accept
    threads = worker.tpool = Threads()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = TConn(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        worker.enqueue_req(conn)

        assert threads.given == [conn]
