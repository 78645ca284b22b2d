"""Runs of our client against servers of the tests' own, which record what it sends."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

from tests.stack import Run
from tests.stack.issuer import signing_keys

METADATA_PATHS = (
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
)
TOKEN_PATH = "/a/token/endpoint"
ACCOUNT_PATH = "/an/account"
TRANSACTIONS_PATH = "/its/transactions"

CLIENT_ID = "an odd:client+%é"
CLIENT_SECRET = "a secret: 100%+ü&=?/#"
ACCESS_TOKEN = "opaque-._~+/" + "0123456789" * 400 + "=="
ID_TOKEN = "an.id.token"

ODD_ENTRY = "odd"
"""The vault's entry of these credentials."""
ODD_CREDENTIALS = {
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "private_jwk": json.dumps(signing_keys()["ec"].pair.as_dict(private=True)),
}


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    @property
    def form(self) -> list[tuple[str, str]]:
        """The parameters of the form in the body, in their order."""
        return parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)

    def all_of(self, name: str) -> list[str]:
        """Return the values of every header ``name``."""
        return [value for given, value in self.headers if given.lower() == name.lower()]


@dataclass(frozen=True)
class Reply:
    """What a recording server answers."""

    document: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class RecordingServer:
    """An HTTP server on loopback that answers by path and keeps every request."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
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

    def requests_to(self, path: str) -> list[Request]:
        """Return the requests for ``path``."""
        return [request for request in self.requests if request.path == path]


class Surroundings:
    """An authorization server, a bank, and a server that nobody should go to.

    All answer as good ones do; a test changes their replies before the client runs.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self.issuer = self._open.enter_context(RecordingServer())
        self.bank = self._open.enter_context(RecordingServer())
        self.elsewhere = self._open.enter_context(RecordingServer())
        self.set_metadata(issuer=self.issuer.url)
        self.set_token_answer()
        self.bank.replies = {
            ACCOUNT_PATH: Reply(
                {
                    "account_id": "an-account",
                    "owner": "Somebody",
                    "currency": "EUR",
                    "balance": 5,
                    "as_of": 1,
                    "transactions": TRANSACTIONS_PATH,
                }
            ),
            TRANSACTIONS_PATH: Reply(
                {"transactions": [{"sequence": 1, "amount": 5}], "next": None}
            ),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def set_metadata(self, **changes: Any) -> None:
        """Let the issuer's metadata be good, but for ``changes``."""
        document = {
            "token_endpoint": self.issuer.url + TOKEN_PATH,
            "jwks_uri": self.issuer.url + "/jwks",
            "a_member_that_nobody_knows": {"a": [1]},
        }
        for path in METADATA_PATHS:
            self.issuer.replies[path] = Reply({**document, **changes})

    def set_token_answer(
        self, status: int = 200, headers: Mapping[str, str] | None = None, **changes: Any
    ) -> None:
        """Let the token endpoint grant a token, but for ``changes``; None leaves a member out."""
        document = {
            "access_token": ACCESS_TOKEN,
            "token_type": "bearer",  # RFC 6749 §5.1: without case
            "expires_in": 300,
            "id_token": ID_TOKEN,
            "a_member_that_nobody_knows": {"a": [1]},
        }
        changed = {name: value for name, value in {**document, **changes}.items() if value}
        self.issuer.replies[TOKEN_PATH] = Reply(changed, status, headers or {})

    @property
    def settings(self) -> dict[str, str]:
        """What leads the client to these servers, with its credentials."""
        return {
            "CLIENT_SERVICE_TRANSPORT": "plain-http",
            "CLIENT_SERVICE_ISSUER": self.issuer.url,
            "CLIENT_SERVICE_API_URL": self.bank.url,
            "CLIENT_SERVICE_ACCOUNT_PATH": ACCOUNT_PATH,
            "CLIENT_SERVICE_VAULT_ENTRY": ODD_ENTRY,
        }

    @property
    def ports(self) -> list[int]:
        """Where the servers listen."""
        return [server.port for server in (self.issuer, self.bank, self.elsewhere)]

    @property
    def token_requests(self) -> list[Request]:
        """What came to the token endpoint."""
        return self.issuer.requests_to(TOKEN_PATH)

    @property
    def all_requests(self) -> list[Request]:
        """What came to any of the servers."""
        return [*self.issuer.requests, *self.bank.requests, *self.elsewhere.requests]


class RunsTheClient(Protocol):
    """Runs the client once, where it can reach what listens at ``ports`` of our loopback."""

    def __call__(self, ports: Sequence[int], settings: Mapping[str, str]) -> Run:
        """Run it with its own settings, but for ``settings``."""
        ...


@dataclass(frozen=True)
class ClientUnderTest:
    """Our client service, whose vault has `ODD_ENTRY`: each run is a process of its own."""

    run_once: RunsTheClient

    def run(self, around: Surroundings, **settings: str) -> Run:
        """Let the client reconcile once against the servers around it."""
        usual = around.settings | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""}
        return self.run_once(around.ports, {**usual, **settings})


def _handler_of(server: RecordingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = tuple(self.headers.items())
            server.requests.append(Request(self.command, self.path, headers, body))
            reply = server.replies.get(urlsplit(self.path).path, Reply(status=404))
            document = json.dumps(reply.document).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(document)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
            """Say nothing."""

    return Handler
