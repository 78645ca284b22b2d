"""One HTTP request, exactly as it is given, and the whole answer.

`requests` and `urllib` repair, complete and follow; here nothing is added but `Host` and
`Content-Length`, and `send_octets` adds nothing at all. Every exchange has a timeout.
"""

import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """Status, headers in their order, and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all_of(self, name: str) -> list[str]:
        """Return the values of every header ``name``."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """Return the header ``name``, its values joined as RFC 9110 §5.3 does; None without."""
        return ", ".join(self.all_of(name)) or None

    @property
    def media_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return (self.header("Content-Type") or "").partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, in which no member stands twice."""
        document = json.loads(self.body.decode("utf-8"), object_pairs_hook=_members_once)
        assert isinstance(document, dict), f"no JSON object: {self.body[:200]!r}"
        return document

    def members(self) -> dict[str, Any]:
        """Return the JSON object in the body; an empty one where there is none."""
        try:
            return self.json()
        except (AssertionError, ValueError):
            return {}


def send(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> Answer:
    """Send one request. ``headers`` may repeat; those that HTTP needs are added if missing."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = [(name, value.encode("utf-8")) for name, value in headers]
    names = {name.lower() for name, _ in given}
    connection = _connection(url)
    try:
        connection.putrequest(method, target, skip_host="host" in names, skip_accept_encoding=True)
        for name, value in given:
            connection.putheader(name, value)
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return _answer(connection.getresponse())
    finally:
        connection.close()


def send_octets(url: str, request: bytes, method: str = "POST") -> Answer | None:
    """Send exactly ``request`` and say that this is all; None where the server just hangs up."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    with socket.create_connection(address, TIMEOUT_SECONDS) as connection:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = context.wrap_socket(connection, server_hostname=parts.hostname)
        try:
            connection.sendall(request)
            if parts.scheme == "http":
                with suppress(OSError):  # the server has hung up already
                    connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection, method=method)
            response.begin()
            return _answer(response)
        except (ConnectionError, BadStatusLine):
            return None


def get_json(url: str) -> dict[str, Any]:
    """Return the JSON object that a GET of ``url`` answers with 200."""
    answer = send("GET", url)
    assert answer.status == 200, f"GET {url} answered {answer.status}"
    return answer.json()


def well_known_url(issuer: str, name: str) -> str:
    """Return the URL of ``name`` between host and path of ``issuer`` (RFC 8414 §3)."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/{name}{parts.path.rstrip('/')}"


def host_of(url: str) -> str:
    """Return what the Host header of a request to ``url`` is."""
    return urlsplit(url).netloc


def form_headers(**headers: str) -> list[tuple[str, str]]:
    """Return the header of a form, and ``headers``."""
    return [("Content-Type", "application/x-www-form-urlencoded"), *headers.items()]


def _connection(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)


def _answer(response: HTTPResponse) -> Answer:
    return Answer(response.status, tuple(response.getheaders()), response.read())


def _members_once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    assert len(members) == len(pairs), f"a member stands twice: {[name for name, _ in pairs]}"
    return members
