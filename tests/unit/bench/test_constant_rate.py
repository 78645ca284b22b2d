import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from bench.constant_rate import Task, answer_in, pace, request_text
from bench.launch import Ask
from bench.wrk import answers_in

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_an_answer_is_whole_when_all_of_its_length_is_there() -> None:
    assert answer_in(ANSWER[:-1]) is None
    assert answer_in(ANSWER[:10]) is None
    assert answer_in(ANSWER) == (200, b"ok")


def test_an_answer_in_chunks_is_whole_with_the_last_chunk() -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert answer_in(head + b"2\r\nok\r\n1\r\n!\r\n") is None
    assert answer_in(head + b"2\r\nok\r\n1\r\n!\r\n0\r\n\r\n") == (401, b"ok!")


def test_a_request_says_how_long_it_is() -> None:
    ask = Ask("RS256", "/token", headers={"Content-Type": "text/plain"}, body="abc")

    text = request_text(8080, ask)

    assert text == (
        "POST /token HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 3\r\n"
        "Content-Type: text/plain\r\n\r\nabc"
    )


@pytest.fixture
def server_that_stalls() -> Iterator[int]:
    """Answer the first request after 0.3 seconds, and each further one at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_answer_slowly_at_first, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _answer_slowly_at_first(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):  # the one connection waits, so that nothing comes
            connection.recv(65536)
        connection.settimeout(None)
        connection.sendall(ANSWER)
        while connection.recv(65536):
            connection.sendall(ANSWER)


def test_a_request_that_waits_for_its_turn_has_its_time_from_when_it_was_due(
    tmp_path: Path, server_that_stalls: int
) -> None:
    answers = tmp_path / "answers"
    request = request_text(server_that_stalls, Ask("one", "/", method="GET"))

    latencies = pace(Task(server_that_stalls, request, 20, 0.3, str(answers), connections=1))

    assert list(answers_in(answers)) == [(200, b"ok")] * 6
    assert latencies[0] >= 300
    assert latencies[1] >= 240  # due 50 ms after the first, sent when that was answered
    assert latencies[5] < latencies[1]


@pytest.fixture
def server_that_ends_each_connection() -> Iterator[int]:
    """Answer one request on each connection, for six of them, and say so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_answer_and_close, args=(listener, 6))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _answer_and_close(listener: socket.socket, times: int) -> None:
    for _ in range(times):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


def test_a_connection_that_the_server_ends_is_opened_anew(
    tmp_path: Path, server_that_ends_each_connection: int
) -> None:
    answers = tmp_path / "answers"
    port = server_that_ends_each_connection
    request = request_text(port, Ask("one", "/", method="GET"))

    latencies = pace(Task(port, request, 50, 0.12, str(answers), connections=1))

    assert (len(latencies), list(answers_in(answers))) == (6, [(200, b"ok")] * 6)
