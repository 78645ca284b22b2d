"""The register: clients, their secrets and scopes, and the resources that tokens are made for.

`find_client` is what a token request reads; everything else is for the command line.
"""

import time
from collections.abc import Callable

from auth_server.registry.client_limits import DEFAULT, ClientLimits
from auth_server.registry.client_secrets import (
    LIVE_SECRETS_PER_CLIENT,
    ClientSecrets,
    NewSecret,
    is_live,
    new_secret,
    secret_hash,
)
from auth_server.registry.clients import Clients
from auth_server.registry.errors import AlreadyRegisteredError, RegistryError, UnknownClientError
from auth_server.registry.registered_client import LiveSecret, RegisteredClient, find_client
from auth_server.registry.resources import Resources
from shared.database import Database

__all__ = [
    "DEFAULT",
    "LIVE_SECRETS_PER_CLIENT",
    "AlreadyRegisteredError",
    "LiveSecret",
    "NewSecret",
    "RegisteredClient",
    "Registry",
    "RegistryError",
    "UnknownClientError",
    "is_live",
    "new_secret",
    "secret_hash",
]


class Registry:
    """The register in the database. ``now`` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self.clients = Clients(database, now)
        self.limits = ClientLimits(database)
        self.secrets = ClientSecrets(database, now)
        self.resources = Resources(database, now)

    def find_client(self, client_id: str) -> RegisteredClient | None:
        """Return the client with its live secrets and its scopes, all in one read."""
        return find_client(self._database, client_id)
