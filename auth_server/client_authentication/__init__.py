"""Arrow 2: the authorization server validates the ClientId and the client's secret.

One file a method. A request authenticates once, by the method that its client is registered for
(RFC 6749 §2.3); the two methods with a secret are interchangeable.
"""

import re
import time
from collections.abc import Callable

from authlib.oauth2.rfc6749.errors import InvalidRequestError

from auth_server.client_authentication import client_secret
from auth_server.client_authentication.client_secret import ClientSecretCredentials
from auth_server.errors import InvalidClientError
from auth_server.registry import RegisteredClient
from auth_server.token_form import TokenForm
from shared.arrows import Arrow, passed

METHODS = client_secret.METHODS
"""What the metadata names as `token_endpoint_auth_methods_supported`."""

FindClient = Callable[[str], RegisteredClient | None]

# A second header arrives behind a comma: `Basic abc,Basic def`.
_SECOND_HEADER = re.compile(r",\s*[A-Za-z][A-Za-z0-9-]*\s+[^\s=,]")


def authenticate_client(
    form: TokenForm, find_client: FindClient, now: Callable[[], float] = time.time
) -> RegisteredClient:
    """Return the client that ``form`` comes from.

    Raises InvalidRequestError (400) where it authenticates more than once, and for all else
    InvalidClientError: 401, and the same text whatever the reason is (decision 6).
    """
    credentials = _credentials(form)
    client = find_client(credentials.client_id)
    matches = client_secret.secret_matches(client, credentials.client_secret, now())
    if client is None:
        raise InvalidClientError("no such client is registered")
    if not matches:
        raise InvalidClientError(f"the secret of {client.client_id} does not match")
    if client.is_disabled:
        raise InvalidClientError(f"{client.client_id} is disabled")
    if client.authentication_method not in client_secret.METHODS:
        raise InvalidClientError(f"{client.client_id} is registered for another method")
    passed(
        Arrow.VALIDATE_CLIENT,
        parameters={"client_id": client.client_id, "method": credentials.method},
    )
    return client


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
