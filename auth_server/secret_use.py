"""What is noted when a client has used a secret: the use, and an end that comes near."""

import time
from collections.abc import Callable

from flask import Response, after_this_request

from auth_server.client_authentication.authenticated import AuthenticatedClient
from auth_server.registry import LiveSecret, RegisteredClient, Registry
from auth_server.registry.near_ends import NearEnds
from auth_server.settings import AuthServerSettings

SECONDS_PER_DAY = 86400


def note_after_the_answer(
    settings: AuthServerSettings, registry: Registry, now: Callable[[], float] = time.time
) -> Callable[[AuthenticatedClient], None]:
    """Return what notes a use when the answer to the request at hand has been sent.

    So a database that is slow, busy or away holds up no token.
    """
    near_ends = NearEnds(settings.secret_end_warning_days * SECONDS_PER_DAY, now)

    def note(client: RegisteredClient, secret: LiveSecret) -> None:
        registry.last_use.note(secret)
        near_ends.warn(client, secret)

    def later(authenticated: AuthenticatedClient) -> None:
        client, secret = authenticated.client, authenticated.secret
        if secret is None or not (registry.last_use.is_due(secret) or near_ends.is_near(secret)):
            return

        @after_this_request
        def attach(response: Response) -> Response:
            response.call_on_close(lambda: note(client, secret))
            return response

    return later
