"""An API whose token check lacks something: what an attack needs, to be seen at work.

No switch turns a check of ours off, so each attack brings a check of its own, written as such
checks are found in the wild. It takes a good token and refuses one that a stranger signed; only
the gap that the attack needs is open.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from cryptography.exceptions import InvalidSignature
from flask import Flask, Request, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.attacks.attacker import attacker_of
from tests.conformance.bank_requests import INVALID_TOKEN, verdict_on
from tests.conformance.jwt_reading import SignedJwt, key_of, read_jwt, verify
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer

ACCOUNT = "/account"

Claims = Mapping[str, Any]
Check = Callable[[str], Claims]


class ScopeMissingError(Exception):
    """The careless server takes the token, but finds that it has not the scope."""


@dataclass(frozen=True)
class CarelessServer(ResourceServerUnderTest):
    """A running careless server, and what it wrote into its access log."""

    access_log: list[str] = field(default_factory=list)


@contextmanager
def careless_server(
    issuer: OwnIssuer, check: Check, token_of: Callable[[Request], str] | None = None
) -> Iterator[CarelessServer]:
    """Run an API that judges tokens by ``check`` alone, which raises where it refuses."""
    log: list[str] = []
    api = _api(check, token_of or token_in_the_header)
    server = make_server("127.0.0.1", 0, api, request_handler=_logging_to(log))
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}{ACCOUNT}"
    careless = CarelessServer(url, "Read", issuer, log)
    try:
        _assert_that_it_is_no_straw_man(careless)
        yield careless
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def token_in_the_header(asked: Request) -> str:
    """Return the token where a token belongs."""
    return asked.headers.get("Authorization", "").removeprefix("Bearer ")


def signed_by(issuer: OwnIssuer, token: str) -> SignedJwt:
    """Return ``token`` taken apart, once a published key has verified it."""
    jwt = read_jwt(token)
    jwk = key_of(jwt, issuer.jwks())
    assert jwt.header["alg"] == jwk["alg"]
    verify(jwt, jwk)
    return jwt


def _api(check: Check, token_of: Callable[[Request], str]) -> Flask:
    app = Flask("careless", static_folder=None)

    @app.get(ACCOUNT)
    def account() -> ResponseReturnValue:
        try:
            return {"account_of": check(token_of(request))["sub"]}
        except ScopeMissingError:
            return "", 403, {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
        except (InvalidSignature, AssertionError, ValueError):
            return "", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}

    return app


def _assert_that_it_is_no_straw_man(careless: CarelessServer) -> None:
    with attacker_of(careless.issuer) as stranger:
        of_a_stranger = stranger.token("ec", claims={"iss": careless.issuer.url})
    assert verdict_on(careless, careless.issuer.token("ec")) == (200, None)
    assert verdict_on(careless, of_a_stranger) == INVALID_TOKEN


def _logging_to(log: list[str]) -> type[WSGIRequestHandler]:
    class Handler(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - its signature above
            log.append(f"{self.command} {self.path} {code}")

    return Handler
