"""What the worker serves in its tests: it tells what it was asked."""

import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

LONG = b"x" * 1_000_000


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the method and the body; by the path, with more, with less, or after a second."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(1)
    if path == "/nothing":
        start_response("204 No Content", [])
        return []
    if path == "/no-pieces":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []
    if path == "/pieces":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"", b"one ", b"two ", b"", b"three"]
    if path == "/long-pieces":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [LONG] * 5
    body = b"" if path == "/unread" else environ["wsgi.input"].read()
    answer = LONG if path == "/long" else f"{method} ".encode() + body
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
