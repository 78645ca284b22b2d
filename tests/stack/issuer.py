"""An issuer of the tests' own: signs what a right one never would, and breaks on demand.

    with OwnIssuer(audience="http://localhost:9001") as issuer:
        good = issuer.token()
        forged = issuer.token(header={"alg": "none"}, signature=b"")

It serves its metadata and its JWK Set over HTTP on a loopback port that it chose. Whoever is
tested knows it by `issuer.url` alone.
"""

import hashlib
import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.stack.loopback import QuietServer

METADATA_PATH = "/.well-known/openid-configuration"
OAUTH_METADATA_PATH = "/.well-known/oauth-authorization-server"
JWKS_PATH = "/jwks"


class _Absent:
    def __repr__(self) -> str:  # it stands in the ids of tests, which every process has to agree on
        return "ABSENT"


ABSENT: Any = _Absent()
"""As the value of a header or claim in `OwnIssuer.token`: leave it out."""

_SIGNERS = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "Ed25519"])


@dataclass(frozen=True)
class SigningKey:
    """A key pair with the one algorithm that it is for."""

    kid: str
    algorithm: str
    pair: Key

    def public_jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public JWK, with ``changes``."""
        members: dict[str, Any] = dict(self.pair.as_dict(private=False))
        return {**members, "kid": self.kid, "alg": self.algorithm, "use": "sig", **changes}

    def public_pem(self) -> bytes:
        """Return the public key as PEM: what an HS256 forger takes as secret."""
        pem: bytes = self.pair.as_pem(private=False)  # type: ignore[union-attr]
        return pem


@dataclass(frozen=True)
class Answer:
    """What the issuer's server answers in place of the right document."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float = 0
    """How long it waits before it answers; a stopped server does not wait."""
    seconds_between_bytes: float = 0
    """Send the body in single bytes, so far apart."""
    seconds_between_header_bytes: float = 0
    """Send a header line without an end instead, in single bytes so far apart."""


class OwnIssuer:
    """An issuer with an RSA, an RSA-PSS, an EC and an Ed25519 key.

    Its kids: `rsa` (RS256), `pss` (PS256), `ec` (ES256), `ed` (Ed25519).
    """

    def __init__(self, audience: str, client_id: str = "own-client") -> None:
        self.audience = audience
        self.client_id = client_id
        self.keys = dict(signing_keys())
        """All keys it can sign with, by `kid`. Change it as you like."""
        self.published = list(self.keys)
        """The kids of the keys in its JWK Set."""
        self.metadata_changes: dict[str, Any] = {}
        self.jwks_headers: dict[str, str] = {"Cache-Control": "max-age=60"}
        self.answers: dict[str, Answer] = {}
        """Wrong answers by path; those of `*` are given for every path."""
        self.fetches: Counter[str] = Counter()
        """How often each path was asked."""
        self._stopped = Event()
        self._server = self._new_server(0)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        """The issuer identifier."""
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering: connections are refused until `restart`."""
        if self._thread is None:
            return
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._thread = None

    def restart(self) -> None:
        """Answer again on the same port, after `stop`."""
        self._server = self._new_server(self.port)
        self._serve()

    def metadata(self) -> dict[str, Any]:
        """Return the issuer's metadata (OpenID Connect Discovery §3)."""
        document = {
            "issuer": self.url,
            "jwks_uri": self.url + JWKS_PATH,
            "token_endpoint": self.url + "/token",
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return {**document, **self.metadata_changes}

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set of the published keys."""
        return {"keys": [self.keys[kid].public_jwk() for kid in self.published]}

    def add_key(self, kid: str, like: str = "ec") -> None:
        """Make a key ``kid`` of the kind of the key ``like``, and publish it."""
        algorithm = self.keys[like].algorithm
        self.keys[kid] = SigningKey(kid, algorithm, _generated(algorithm))
        self.published.append(kid)

    def header(self, kid: str = "rsa") -> dict[str, Any]:
        """Return the header of a good access token (RFC 9068 §2.1)."""
        return {"typ": "at+jwt", "alg": self.keys[kid].algorithm, "kid": kid}

    def claims(self) -> dict[str, Any]:
        """Return the claims of a good access token (RFC 9068 §2.2) of five minutes."""
        now = int(time.time())
        return {
            "iss": self.url,
            "aud": self.audience,
            "sub": self.client_id,
            "client_id": self.client_id,
            "iat": now,
            "exp": now + 300,
            "jti": uuid.uuid4().hex,
            "scope": "Read Write",
        }

    def token(
        self,
        kid: str = "rsa",
        *,
        header: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
        signature: bytes | None = None,
    ) -> str:
        """Return an access token signed with the key ``kid``: good, but for the changes.

        ``header`` and ``claims`` replace single members (`ABSENT` leaves one out);
        ``signature`` replaces the signature.
        """
        return self.signed(
            _json(changed(self.header(kid), header)),
            _json(changed(self.claims(), claims)),
            kid,
            signature,
        )

    def id_token(self, kid: str = "rsa") -> str:
        """Return an id_token: a good JWT of this issuer, but not for an API."""
        changes = {"aud": self.client_id, "client_id": ABSENT, "scope": ABSENT, "jti": ABSENT}
        return self.token(kid, header={"typ": "JWT"}, claims={**changes, "at_hash": "x" * 22})

    def signed(
        self, header: bytes, claims: bytes, kid: str = "rsa", signature: bytes | None = None
    ) -> str:
        """Return a JWS of exactly these octets, signed with ``kid``, or with ``signature``."""
        key = self.keys[kid]
        signing_input = base64url(header) + b"." + base64url(claims)
        if signature is None:
            signature = _SIGNERS.get_alg(key.algorithm).sign(signing_input, key.pair)
        return (signing_input + b"." + base64url(signature)).decode("ascii")

    def token_with_hs256(self, secret: bytes, kid: str = "rsa") -> str:
        """Return a token whose MAC is by HS256 under ``secret``: the public key, say."""
        header = _json({**self.header(kid), "alg": "HS256"})
        signing_input = base64url(header) + b"." + base64url(_json(self.claims()))
        mac = hmac.new(secret, signing_input, hashlib.sha256).digest()
        return (signing_input + b"." + base64url(mac)).decode("ascii")

    def _serve(self) -> None:
        self._stopped.clear()
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _new_server(self, port: int) -> ThreadingHTTPServer:
        return QuietServer(("127.0.0.1", port), _handler_of(self))

    def _answer(self, path: str) -> Answer:
        self.fetches[path] += 1
        wrong = self.answers.get(path) or self.answers.get("*")
        if wrong is not None:
            return wrong
        if path in {METADATA_PATH, OAUTH_METADATA_PATH}:
            return Answer(body=_json(self.metadata()))
        if path == JWKS_PATH:
            return Answer(body=_json(self.jwks()), headers=self.jwks_headers)
        return Answer(status=404)

    def _wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)


@cache
def signing_keys() -> Mapping[str, SigningKey]:
    """Return the keys of every `OwnIssuer` in this process; making an RSA key takes a while."""
    kinds = {"rsa": "RS256", "pss": "PS256", "ec": "ES256", "ed": "Ed25519"}
    return {kid: SigningKey(kid, name, _generated(name)) for kid, name in kinds.items()}


def base64url(data: bytes) -> bytes:
    """Return ``data`` in base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def _generated(algorithm: str) -> Key:
    if algorithm in {"RS256", "PS256"}:
        return RSAKey.generate_key(2048)
    if algorithm == "ES256":
        return ECKey.generate_key("P-256")
    return OKPKey.generate_key("Ed25519")


def changed(members: dict[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``members`` with ``changes``; `ABSENT` leaves a member out."""
    changed = {**members, **(changes or {})}
    return {name: value for name, value in changed.items() if value is not ABSENT}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _handler_of(issuer: OwnIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = issuer._answer(self.path)
            issuer._wait(answer.wait_seconds)
            if answer.seconds_between_header_bytes:
                self._drip_headers(answer.seconds_between_header_bytes)
                return
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self._send_body(answer)

        def _send_body(self, answer: Answer) -> None:
            try:
                if not answer.seconds_between_bytes:
                    self.wfile.write(answer.body)
                    return
                for byte in answer.body:
                    self.wfile.write(bytes([byte]))
                    issuer._wait(answer.seconds_between_bytes)
            except ConnectionError:  # who asked has given up
                self.close_connection = True

        def _drip_headers(self, seconds: float) -> None:
            self.close_connection = True
            with suppress(ConnectionError):  # who asked has given up
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Drops: ")
                while not issuer._stopped.is_set():
                    self.wfile.write(b"x")
                    issuer._wait(seconds)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
            """Say nothing."""

    return Handler
