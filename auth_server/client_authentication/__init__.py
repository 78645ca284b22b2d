"""Arrow 2: the authorization server validates the ClientId and the client's secret.

Or, in place of the secret, an assertion that the client signed: one file a method. A request
authenticates once, by the method that its client is registered for (RFC 6749 §2.3); the two
methods with a secret are interchangeable.

`ClientAuthentication` serves every endpoint whose callers are clients; only at the token endpoint
is it the arrow of the diagram.
"""

import time
from collections.abc import Callable, Collection

from auth_server.client_authentication import client_secret, private_key_jwt
from auth_server.client_authentication.authenticated import AuthenticatedClient, Authentication
from auth_server.client_authentication.client_secret import ClientSecretCredentials
from auth_server.client_authentication.presented import Presented, presented_by
from auth_server.client_authentication.private_key_jwt import AssertionCheck, ClientAssertion
from auth_server.errors import InvalidClientError
from auth_server.registry import RegisteredClient
from auth_server.token_form import TokenForm
from shared.arrows import Arrow, passed
from shared.identifiers import is_identifier

METHODS = (*client_secret.METHODS, *private_key_jwt.METHODS)
"""What the metadata names as `token_endpoint_auth_methods_supported`."""
ASSERTION_ALGORITHMS = private_key_jwt.ALGORITHMS
"""What the metadata names as `token_endpoint_auth_signing_alg_values_supported`."""

FindClient = Callable[[str], RegisteredClient | None]


def _keep_nobody(_client_id: str) -> None:
    """Keep no client in memory."""


class ClientAuthentication:
    """Finds out which client a request comes from. ``now`` is the clock, in seconds since 1970.

    ``kept_client`` is what is in memory of a client, ``find_client`` reads it. ``note_use`` is
    told of each success.
    """

    def __init__(
        self,
        find_client: FindClient,
        assertions: AssertionCheck,
        now: Callable[[], float] = time.time,
        kept_client: FindClient = _keep_nobody,
        note_use: Callable[[AuthenticatedClient], None] = lambda _: None,
    ) -> None:
        self._find_client, self._kept_client = find_client, kept_client
        self._assertions = assertions
        self._note_use = note_use
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
        presented = presented_by(form)
        try:
            authenticated = self._authenticated(presented)
        except InvalidClientError as error:
            named = presented.client_id
            error.client_id = named if is_identifier(named) else None
            raise
        self._note_use(authenticated)
        return authenticated

    def read_again(self, client: RegisteredClient) -> RegisteredClient:
        """Return ``client``, which is authenticated, as it is now.

        Before it is refused anything: what is kept of it may be less than it may by now.
        Raises InvalidClientError where it is gone or disabled.
        """
        found = self._find_client(client.client_id)
        if found is None or found.is_disabled:
            raise InvalidClientError(f"{client.client_id} is disabled")
        return found

    def _authenticated(self, presented: Presented) -> AuthenticatedClient:
        """Judge by what is kept of the client, and by what is read where that would refuse it.

        Each failure costs one read and the same checks twice, whatever is kept.
        """
        if isinstance(presented, ClientAssertion):
            self._assertions.judge_claims(presented)
        kept = self._kept_client(presented.client_id)
        found = kept or self._find_client(presented.client_id)
        try:
            authenticated = self._judged(presented, found)
        except InvalidClientError:
            if kept is not None:
                found = self._find_client(presented.client_id)
            authenticated = self._judged(presented, found)
        # Only now: somebody else's assertion of the same `jti` would spend that of the client.
        if isinstance(presented, ClientAssertion) and not self._assertions.is_first_use(presented):
            raise InvalidClientError(f"{presented.client_id} used this assertion before")
        return authenticated

    def _judged(
        self,
        presented: Presented,
        client: RegisteredClient | None,
    ) -> AuthenticatedClient:
        if isinstance(presented, ClientAssertion):
            return self._by_assertion(presented, client)
        return self._by_secret(presented, client)

    def _by_secret(
        self, presented: ClientSecretCredentials, found: RegisteredClient | None
    ) -> AuthenticatedClient:
        matching = client_secret.matching_secret(found, presented.client_secret, self._now())
        client = _usable(found, client_secret.METHODS)
        if matching is None:
            raise InvalidClientError(f"the secret of {client.client_id} does not match")
        return AuthenticatedClient(client, presented.method, matching)

    def _by_assertion(
        self, presented: ClientAssertion, found: RegisteredClient | None
    ) -> AuthenticatedClient:
        is_signed = self._assertions.is_signed_by(found, presented)
        client = _usable(found, private_key_jwt.METHODS)
        if not is_signed:
            raise InvalidClientError(f"no key of {client.client_id} signed the assertion")
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
