"""Authlib's authorization server, with our client authentication and our errors in it.

What stays Authlib's is the way of a request through the grant. The grant is in `token_endpoint`.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import WSGIEnvironment

import orjson
from authlib.integrations.flask_oauth2.authorization_server import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Response
from werkzeug.wsgi import ClosingIterator

from auth_server import audit
from auth_server.client_authentication import validate_client
from auth_server.client_authentication.authenticated import Authentication
from auth_server.errors import refusal
from auth_server.registry import RegisteredClient
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import SigningKeys
from auth_server.token_form import TokenForm
from shared.identifiers import TOKEN_PATH

# Authlib answers a plain http URL off loopback with an uncaught error, so 500. Who protects the
# transport is a declared setting of the service, which does not start without it (decision 14).
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"


class TokenRequest(OAuth2Request):
    """What Authlib sees of a request: its form alone. Authlib's own reads the query too."""

    def __init__(self, form: TokenForm) -> None:
        super().__init__("POST", TOKEN_PATH)
        self.payload = BasicOAuth2Payload(form.parameters)  # type: ignore[assignment]  # was None
        self.token_form = form


class TokenAnswer(Response):
    """An answer with status 200 to a POST, whole from the beginning.

    Werkzeug's own looks for a Location, for a body that is to be left out, and for its length.
    """

    def get_wsgi_response(
        self, environ: WSGIEnvironment
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return body, status and headers, as they are."""
        del environ
        body = self.iter_encoded()
        if self._on_close:
            body = ClosingIterator(body, self.close)
        return body, self.status, self.headers.to_wsgi_list()


class TokenServer(AuthorizationServer):
    """The server that the grants are registered with: settings, keys, clients, a clock."""

    def __init__(
        self,
        settings: AuthServerSettings,
        keys: SigningKeys,
        authentication: Authentication,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()  # without the app: its config would bring a generator of its own
        self.settings = settings
        self.keys = keys
        self.now = now
        self.authentication = authentication

    def create_oauth2_request(self, request: TokenForm) -> TokenRequest:
        """Return what Authlib works on."""
        return TokenRequest(request)

    def authenticate_client(
        self, request: TokenRequest, methods: object, endpoint: str = "token"
    ) -> RegisteredClient:
        """Return the client that asks (arrow 2).

        Authlib's own takes the first method that works where a request uses two, and has a text
        for each cause of failure.
        """
        del methods, endpoint  # Authlib's default is Basic alone; ours are in arrow 2's file
        client = validate_client(self.authentication, request.token_form)
        audit.note(client_id=client.client_id)
        return client

    def save_token(self, token: object, request: object) -> None:
        """Store nothing: a token costs no row (decision 7)."""

    def handle_response(self, status: int, body: dict[str, Any], headers: object) -> Response:
        """Return the answer; its headers are those of every answer to a client (`app.py`)."""
        del headers
        return TokenAnswer(orjson.dumps(body), status, content_type="application/json")

    def handle_error_response(self, request: object, error: OAuth2Error) -> Response:
        """Answer an error as this service answers all of them."""
        del request
        return refusal(error)
