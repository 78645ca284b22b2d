"""A server on loopback that answers what a test says, and remembers what it was asked."""

import json
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), strict_parsing=bool(self.body)))


@dataclass(frozen=True)
class Reply:
    """An answer; a ``document`` is sent as JSON. ``breaks_off``: only half of it comes."""

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    breaks_off: bool = False

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        return b"" if self.document is None else json.dumps(self.document).encode()


Answering = Callable[[Asked], Reply]


class QuietServer(ThreadingHTTPServer):
    """Says nothing of a caller that hangs up or does not trust it: tests do both on purpose."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the trace of what is no error of the connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class LoopbackServer:
    """Serves the replies set for each path: one after the other, the last one for good."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._replies: dict[str, list[Reply | Answering]] = {}
        self._lock = Lock()
        self._server = QuietServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering: connections are refused."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def speak_tls(self, pem_file: Path, host: str = "localhost") -> None:
        """Speak HTTPS from now on, with the certificate and private key of ``pem_file``."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem_file)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://{host}:{self._server.server_address[1]}"

    def reply(self, path: str, *replies: Reply | Answering) -> None:
        """Answer requests for ``path`` with ``replies``."""
        self._replies[path] = list(replies)

    def paths(self) -> list[str]:
        """Return the paths asked for, in their order."""
        return [asked.path for asked in self.asked]

    def _next(self, asked: Asked) -> Reply | Answering:
        with self._lock:
            self.asked.append(asked)
            replies = self._replies.get(asked.path, [Reply(404)])
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"  # no connection outlives its exchange

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def _answer(self) -> None:
                url = urlsplit(self.path)
                asked = Asked(
                    self.command,
                    url.path,
                    dict(parse_qsl(url.query)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(int(self.headers.get("Content-Length", 0))),
                )
                reply = server._next(asked)
                reply = reply if isinstance(reply, Reply) else reply(asked)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.content())))
                self.end_headers()
                content = reply.content()
                self.wfile.write(content[: len(content) // 2] if reply.breaks_off else content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                """Stay silent."""

        return Handler
