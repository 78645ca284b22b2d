import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.stack.local_stack import free_ports

SECONDS = 20
APPLICATION = "wsgiref.simple_server:demo_app"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Server:
    """gunicorn with our worker and one thread."""

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


@pytest.fixture
def server() -> Iterator[Server]:
    (port,) = free_ports(1)
    options = ["--worker-class", "shared.gunicorn_worker.ImpatientThreadWorker", "--threads", "1"]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, APPLICATION], stderr=subprocess.DEVNULL)
    running = Server(port, process)
    deadline = time.monotonic() + SECONDS
    while not running.answers():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield running
    process.kill()
    process.wait()


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
