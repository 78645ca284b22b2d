"""Connections that begin a request and say no more do not stop a service."""

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import requests

from shared.gunicorn_worker import PATIENCE_SECONDS
from tests.stack import Stack

MORE_THAN_THREADS = 9  # of two workers with four threads each
HALF_A_HEADER = b"POST /oidc/token HTTP/1.1\r\nHost: local"
HALF_A_BODY = (
    b"POST /oidc/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\ng"
)


@pytest.mark.parametrize("start", [HALF_A_HEADER, HALF_A_BODY], ids=["header", "body"])
def test_connections_that_fall_silent_in_a_request_are_given_up(stack: Stack, start: bytes) -> None:
    address = urlsplit(stack.auth_url)
    longest = 8 * PATIENCE_SECONDS
    with ExitStack() as held:
        connections = []
        for _ in range(MORE_THAN_THREADS):
            silent = socket.create_connection(("127.0.0.1", address.port or 0), timeout=longest)
            held.enter_context(silent).sendall(start)
            connections.append(silent)

        answer = requests.get(f"{stack.auth_url}/livez", timeout=longest)
        assert answer.status_code == 200
        for silent in connections:
            assert silent.recv(65536)[:12] in {b"", b"HTTP/1.1 400"}
    assert "Traceback" not in stack.logs()
