"""Arrow 2: the authorization server validates the ClientId and the client's secret.

Or, in place of the secret, an assertion that the client signed: one file a method. A request
authenticates once, by the method that its client is registered for (RFC 6749 §2.3); the two
methods with a secret are interchangeable.

`ClientAuthentication` serves every endpoint whose callers are clients; only at the token endpoint
is it the arrow of the diagram.
"""

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from authlib.oauth2.rfc6749.errors import InvalidRequestError

from auth_server.client_authentication import client_secret, private_key_jwt
from auth_server.client_authentication.client_secret import ClientSecretCredentials
from auth_server.client_authentication.private_key_jwt import AssertionCheck, ClientAssertion
from auth_server.errors import InvalidClientError
from auth_server.registry import LiveSecret, RegisteredClient
from auth_server.token_form import TokenForm
from shared.arrows import Arrow, passed
from shared.identifiers import is_identifier

METHODS = (*client_secret.METHODS, *private_key_jwt.METHODS)
"""What the metadata names as `token_endpoint_auth_methods_supported`."""
ASSERTION_ALGORITHMS = private_key_jwt.ALGORITHMS
"""What the metadata names as `token_endpoint_auth_signing_alg_values_supported`."""

FindClient = Callable[[str], RegisteredClient | None]

# A second header arrives behind a comma: `Basic abc,Basic def`.
_SECOND_HEADER = re.compile(r",\s*[A-Za-z][A-Za-z0-9-]*\s+[^\s=,]")


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client that has proven who it is, and by what: its method, and the secret that matched."""

    client: RegisteredClient
    method: str
    secret: LiveSecret | None


class Authentication(Protocol):
    """What an endpoint asks who its caller is: `ClientAuthentication`, or one around it."""

    def authenticate(self, form: TokenForm) -> AuthenticatedClient:
        """Return the client that ``form`` comes from; raises as `ClientAuthentication` does."""
        ...


class ClientAuthentication:
    """Finds out which client a request comes from. ``now`` is the clock, in seconds since 1970."""

    def __init__(
        self,
        find_client: FindClient,
        assertions: AssertionCheck,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._find_client = find_client
        self._assertions = assertions
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
        presented = _presented(form)
        try:
            if isinstance(presented, ClientAssertion):
                return self._by_assertion(presented)
            return self._by_secret(presented)
        except InvalidClientError as error:
            named = presented.client_id
            error.client_id = named if is_identifier(named) else None
            raise

    def _by_secret(self, presented: ClientSecretCredentials) -> AuthenticatedClient:
        found = self._find_client(presented.client_id)
        matching = client_secret.matching_secret(found, presented.client_secret, self._now())
        client = _usable(found, client_secret.METHODS)
        if matching is None:
            raise InvalidClientError(f"the secret of {client.client_id} does not match")
        return AuthenticatedClient(client, presented.method, matching)

    def _by_assertion(self, presented: ClientAssertion) -> AuthenticatedClient:
        self._assertions.judge_claims(presented)
        found = self._find_client(presented.client_id)
        is_signed = self._assertions.is_signed_by(found, presented)
        client = _usable(found, private_key_jwt.METHODS)
        if not is_signed:
            raise InvalidClientError(f"no key of {client.client_id} signed the assertion")
        # Only now: somebody else's assertion of the same `jti` would spend that of the client.
        if not self._assertions.is_first_use(presented):
            raise InvalidClientError(f"{client.client_id} used this assertion before")
        return AuthenticatedClient(client, presented.method, None)


def _usable(client: RegisteredClient | None, methods: Collection[str]) -> RegisteredClient:
    """Return ``client`` if it may authenticate by one of ``methods``.

    Asked for when the work of a right client has been done, whoever this one is.
    """
    if client is None:
        raise InvalidClientError("no such client is registered")
    if client.is_disabled:
        raise InvalidClientError(f"{client.client_id} is disabled")
    if client.authentication_method not in methods:
        raise InvalidClientError(f"{client.client_id} is registered for another method")
    return client


def validate_client(authentication: Authentication, form: TokenForm) -> RegisteredClient:
    """Return the client that a token request comes from, and so pass arrow 2."""
    authenticated = authentication.authenticate(form)
    client_id = authenticated.client.client_id
    shown = {"client_id": client_id, "method": authenticated.method}
    passed(Arrow.VALIDATE_CLIENT, parameters=shown)
    return authenticated.client


def _presented(form: TokenForm) -> ClientSecretCredentials | ClientAssertion:
    """Return what the one mechanism that was used presents (RFC 6749 §2.3: one, MUST NOT more).

    Half an assertion is a use of that mechanism as well.
    """
    header, parameters = form.authorization, form.parameters
    by_assertion = not parameters.keys().isdisjoint(private_key_jwt.PARAMETERS)
    by_post = "client_secret" in parameters
    if by_assertion + by_post + (header is not None) > 1 or _SECOND_HEADER.search(header or ""):
        raise InvalidRequestError("The client authenticates in more than one way.")
    if header is not None:
        return _header_credentials(header, parameters.get("client_id"))
    if by_post:
        return client_secret.post_credentials(parameters)
    if by_assertion:
        return private_key_jwt.client_assertion(parameters)
    raise InvalidClientError("nothing authenticates it")  # RFC 6749 §5.2 names this case


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
