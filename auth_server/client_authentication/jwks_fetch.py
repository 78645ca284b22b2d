"""One GET of a client's `jwks_uri`, which leads wherever the client's operator likes.

So it is fetched with care: from public addresses alone, and the address that was judged is the
one that is connected to, whatever a second look-up would say; without redirects, proxies or
cookies; within a size, and within a time for the whole. It is Python's own client: `requests`
would look the name up itself, and start its timeout anew at each drop.
"""

import io
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from auth_server.client_authentication.public_address import is_public
from auth_server.signed_jwt import json_object

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
LARGEST_DOCUMENT_BYTES: Final = 64 * 1024
LOOK_UPS_AT_ONCE: Final = 2


class FetchError(Exception):
    """The document cannot be had; the text says why."""


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of ``host``, in the order in which they are to be tried."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True)
class JwksFetch:
    """Fetches a JSON object within ``timeout_seconds``.

    ``may_be_internal``: from private addresses too; ``may_be_plain_http``: not by https alone.
    """

    timeout_seconds: float
    may_be_internal: bool = False
    may_be_plain_http: bool = False
    look_up: Callable[[str, int], list[str]] = addresses_of
    ca_file: Path | None = None
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What vouches for a host: `ca_file`, else the public CAs."""
        return ssl.create_default_context(cafile=self.ca_file)

    @cached_property
    def _look_ups(self) -> ThreadPoolExecutor:
        """Threads to wait for names in: a look-up cannot be given a time limit."""
        return ThreadPoolExecutor(LOOK_UPS_AT_ONCE, thread_name_prefix="jwks-look-up")

    def __call__(self, uri: str) -> dict[str, Any]:
        """Return the JSON object at ``uri``; raise FetchError."""
        parts, deadline = urlsplit(uri), _Deadline(self.timeout_seconds, self.clock)
        if parts.scheme != "https" and not self.may_be_plain_http:
            raise FetchError("it is not https")
        try:
            with self._connection(parts, deadline) as connection:
                return json_object(_body(connection, parts, deadline))
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"{type(error).__name__}: {error}") from error

    def _connection(self, parts: SplitResult, deadline: "_Deadline") -> socket.socket:
        """Connect to the host of ``parts``, by TLS where its scheme is https."""
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        connection = _connected(self._judged_addresses(host, port, deadline), port, deadline)
        if parts.scheme != "https":
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    def _judged_addresses(self, host: str, port: int, deadline: "_Deadline") -> list[str]:
        waiting = self._look_ups.submit(self.look_up, host, port)
        try:
            addresses = waiting.result(deadline.seconds_left())
        finally:
            waiting.cancel()
        if not self.may_be_internal and not all(map(is_public, addresses)):
            raise FetchError("the host has an address that is not public")
        return addresses


class _Deadline:
    """The end of the whole exchange."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def seconds_left(self) -> float:
        """Return how long anything may still take; raise TimeoutError where time is up."""
        seconds = self._end - self._clock()
        if seconds <= 0:
            raise TimeoutError("it takes too long")
        return seconds


def _connected(addresses: list[str], port: int, deadline: _Deadline) -> socket.socket:
    """Connect to the first of ``addresses`` that answers; each gets its share of the time."""
    error = OSError("the host has no address")
    for tried, address in enumerate(addresses):
        try:
            share = deadline.seconds_left() / (len(addresses) - tried)
            connection = socket.create_connection((address, port), share)
        except OSError as refused:
            error = refused
            continue
        connection.settimeout(deadline.seconds_left())
        return connection
    raise error


def _body(connection: socket.socket, parts: SplitResult, deadline: _Deadline) -> bytes:
    """Ask for what ``parts`` names and return the body of a 200."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Accept: application/jwk-set+json, application/json",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = HTTPResponse(_ReadUntil(connection, deadline), method="GET")  # type: ignore[arg-type]
    response.begin()
    if response.status != 200:
        raise FetchError(f"it answered {response.status}")
    body = response.read(LARGEST_DOCUMENT_BYTES + 1)
    if len(body) > LARGEST_DOCUMENT_BYTES:
        raise FetchError(f"it is larger than {LARGEST_DOCUMENT_BYTES} bytes")
    return body


class _ReadUntil(io.RawIOBase):
    """Reads from a connection until a deadline; its own timeout begins anew at each drop."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what `HTTPResponse` reads from: it takes us for a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes next."""
        self._connection.settimeout(self._deadline.seconds_left())
        return self._connection.recv_into(buffer)
