"""A proxy on loopback that disturbs what passes: delays, cuts, truncates, and answers itself.

    with DisturbedNetwork(server.url, faults, Random(7), elsewhere=other.url) as network:
        client_of(network.url)

It changes no `Host`, so a server that builds links from it leads a client through here again.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from random import Random
from socket import SHUT_RDWR
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.stack.loopback import QuietServer

UPSTREAM_SECONDS = 20
LONGEST_DELAY_SECONDS = 0.2
REDIRECT = "redirect"
PASSING_FAULTS = ("delay", "cut before", "cut after", "truncate", "500", "429", "401")
KINDS_OF_FAULTS = (*PASSING_FAULTS, REDIRECT)
ROUNDS_TO_A_REDIRECT = 4
"""A redirect is final, and no fault of a network: it comes more seldom than the others."""
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "server", "date"})


@dataclass(frozen=True)
class Exchange:
    """A request that came, and what the server behind said, if it was asked."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    fault: str | None
    answer: bytes = b""

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path


@dataclass(frozen=True)
class Answer:
    """An answer, of the server behind or of the proxy itself."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class Traffic:
    """What has passed; and of the requests that ``kind_of`` gives a name, how many at a time."""

    kind_of: Callable[[Exchange], str | None] = lambda _exchange: None
    exchanges: list[Exchange] = field(default_factory=list)
    most_in_flight: Counter[str] = field(default_factory=Counter)
    _in_flight: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def begin(self, exchange: Exchange) -> str | None:
        """Note that a request has come, and return its kind."""
        kind = self.kind_of(exchange)
        if kind is not None:
            with self._lock:
                self._in_flight[kind] += 1
                most = max(self._in_flight[kind], self.most_in_flight[kind])
                self.most_in_flight[kind] = most
        return kind

    def end(self, kind: str | None, exchange: Exchange) -> None:
        """Note that the answer, or none, is about to leave."""
        with self._lock:
            self.exchanges.append(exchange)
            if kind is not None:
                self._in_flight[kind] -= 1


class DisturbedNetwork:
    """Passes requests on to ``upstream``, but disturbs ``share`` of each hundred."""

    def __init__(
        self,
        upstream: str,
        random: Random,
        elsewhere: str,
        *,
        share: int = 50,
        unauthorized: Answer,
        kind_of: Callable[[Exchange], str | None] = lambda _exchange: None,
    ) -> None:
        self.traffic = Traffic(kind_of)
        self.share = share
        self.elsewhere = elsewhere
        self.own_answers = {
            "500": Answer(500),
            "429": Answer(429, (("Retry-After", "0"),)),
            "401": unauthorized,
            "redirect": Answer(307, (("Location", elsewhere + "/elsewhere"),)),
        }
        self._deck: list[str] = []
        self._upstream, self._random, self._lock = urlsplit(upstream), random, Lock()
        self._server = QuietServer(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_fault(self) -> tuple[str | None, float]:
        """Return what to do to the next request, and how long to hold it up.

        Faults are dealt like cards, so that each has come up when the deck is through.
        """
        with self._lock:
            if not self._deck:
                self._deck = [*PASSING_FAULTS * ROUNDS_TO_A_REDIRECT, REDIRECT]
                self._random.shuffle(self._deck)
            disturbed = self._random.randrange(100) < self.share
            fault = self._deck.pop() if disturbed else None
            delay = self._random.uniform(0, LONGEST_DELAY_SECONDS) if fault == "delay" else 0
            return fault, delay

    def ask_upstream(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Return what the server behind answers; a 502 where it does not."""
        connection = HTTPConnection(
            self._upstream.hostname or "", self._upstream.port, timeout=UPSTREAM_SECONDS
        )
        try:
            connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read())
        except (OSError, HTTPException):
            return Answer(502)
        finally:
            connection.close()


def _handler_of(network: DisturbedNetwork) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault, delay = network.next_fault()
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Exchange(self.command, self.path, headers, body, fault)
            kind = network.traffic.begin(asked)
            time.sleep(delay)
            answer = self._answer(fault, body)
            told = b"" if answer is None else answer.body
            ended = replace(asked, answer=told)
            network.traffic.end(kind, ended)
            if answer is None or fault == "cut after":
                self._cut()
            else:
                self._send(answer, truncated=fault == "truncate")

        def _answer(self, fault: str | None, body: bytes) -> Answer | None:
            if fault == "cut before":
                return None
            if fault in network.own_answers:
                return network.own_answers[fault]
            return network.ask_upstream(self.command, self.path, self.headers, body)

        def _send(self, answer: Answer, *, truncated: bool) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) // 2] if truncated else answer.body)
            if truncated:
                self._cut()

        def _cut(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Stay silent."""

    return Handler


def form_of(exchange: Exchange) -> dict[str, list[str]]:
    """Return the form of a request; empty where it has none."""
    return parse_qs(exchange.body.decode("latin-1"))
