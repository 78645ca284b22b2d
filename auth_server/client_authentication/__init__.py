"""Arrow 2: the authorization server validates the ClientId and the client's secret.

One file a method. A request authenticates once, by the method that its client is registered for
(RFC 6749 §2.3); the two methods with a secret are interchangeable.

`ClientAuthentication` serves every endpoint whose callers are clients; only at the token endpoint
is it the arrow of the diagram.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import InvalidRequestError

from auth_server.client_authentication import client_secret
from auth_server.client_authentication.client_secret import ClientSecretCredentials
from auth_server.errors import InvalidClientError
from auth_server.registry import LiveSecret, RegisteredClient
from auth_server.token_form import TokenForm
from shared.arrows import Arrow, passed

METHODS = client_secret.METHODS
"""What the metadata names as `token_endpoint_auth_methods_supported`."""

FindClient = Callable[[str], RegisteredClient | None]

# A second header arrives behind a comma: `Basic abc,Basic def`.
_SECOND_HEADER = re.compile(r",\s*[A-Za-z][A-Za-z0-9-]*\s+[^\s=,]")


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client that has proven who it is, and by what: its method, and the secret that matched."""

    client: RegisteredClient
    method: str
    secret: LiveSecret | None


class ClientAuthentication:
    """Finds out which client a request comes from. ``now`` is the clock, in seconds since 1970."""

    def __init__(self, find_client: FindClient, now: Callable[[], float] = time.time) -> None:
        self._find_client = find_client
        self._now = now

    def client_of(self, form: TokenForm) -> RegisteredClient:
        """Return the client that ``form`` comes from; raises as `authenticate` does."""
        return self.authenticate(form).client

    def authenticate(self, form: TokenForm) -> AuthenticatedClient:
        """Return the client that ``form`` comes from, and what proved it.

        Raises InvalidRequestError (400) where it authenticates more than once, and for all else
        InvalidClientError: 401, and the same text whatever the reason is (decision 6). Its
        ``client_id`` is the client that the request claimed to come from.
        """
        credentials = _credentials(form)
        try:
            return self._judged(credentials)
        except InvalidClientError as error:
            error.client_id = credentials.client_id
            raise

    def _judged(self, credentials: ClientSecretCredentials) -> AuthenticatedClient:
        client = self._find_client(credentials.client_id)
        matching = client_secret.matching_secret(client, credentials.client_secret, self._now())
        if client is None:
            raise InvalidClientError("no such client is registered")
        if matching is None:
            raise InvalidClientError(f"the secret of {client.client_id} does not match")
        if client.is_disabled:
            raise InvalidClientError(f"{client.client_id} is disabled")
        if client.authentication_method not in client_secret.METHODS:
            raise InvalidClientError(f"{client.client_id} is registered for another method")
        return AuthenticatedClient(client, credentials.method, matching)


def validate_client(authentication: ClientAuthentication, form: TokenForm) -> RegisteredClient:
    """Return the client that a token request comes from, and so pass arrow 2."""
    authenticated = authentication.authenticate(form)
    client_id = authenticated.client.client_id
    shown = {"client_id": client_id, "method": authenticated.method}
    passed(Arrow.VALIDATE_CLIENT, parameters=shown)
    return authenticated.client


def _credentials(form: TokenForm) -> ClientSecretCredentials:
    """Return what the one mechanism that was used presents (RFC 6749 §2.3: one, MUST NOT more)."""
    header, parameters = form.authorization, form.parameters
    used = [name for name in ("client_secret", "client_assertion") if name in parameters]
    if len(used) + (header is not None) > 1 or (header and _SECOND_HEADER.search(header)):
        raise InvalidRequestError("The client authenticates in more than one way.")
    if header is not None:
        return _header_credentials(header, parameters.get("client_id"))
    if used == ["client_secret"]:
        return client_secret.post_credentials(parameters)
    # RFC 6749 §5.2 names both cases: none included, and a method that is not supported.
    raise InvalidClientError(f"{used[0]} is not supported" if used else "nothing authenticates it")


def _header_credentials(header: str, client_id: str | None) -> ClientSecretCredentials:
    if header.partition(" ")[0].lower() != "basic":
        raise InvalidClientError("the scheme of its Authorization header is not supported")
    try:
        credentials = client_secret.basic_credentials(header)
    except ValueError as error:
        raise InvalidClientError(f"its Basic credentials are malformed: {error}") from error
    # A client_id in the body is no second mechanism, but it has to name the same client. Where it
    # does not, authentication fails as RFC 7521 §4.2 has it for assertions; and as a header was
    # used, RFC 6749 §5.2 wants 401 and the challenge.
    if client_id not in (None, credentials.client_id):
        raise InvalidClientError("the client_id in the body is another than in the header")
    return credentials
