"""The register: clients, their secrets and scopes, and the resources that tokens are made for.

`find_client` is what a token request reads; everything else is for the command line.
"""

import time
from collections.abc import Callable

from auth_server.registry.client_cache import ClientCache
from auth_server.registry.client_limits import DEFAULT, ClientLimits
from auth_server.registry.client_secrets import (
    ClientSecrets,
    NewSecret,
    VaultPlace,
    is_live,
    state_of,
)
from auth_server.registry.clients import Clients
from auth_server.registry.errors import AlreadyRegisteredError, RegistryError, UnknownClientError
from auth_server.registry.last_use import LastUse
from auth_server.registry.registered_client import LiveSecret, RegisteredClient, find_client
from auth_server.registry.resources import Resources
from auth_server.registry.secret_text import new_secret, secret_hash, secrets_in
from auth_server.registry.third_secret import LIVE_SECRETS_PER_CLIENT
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
    "VaultPlace",
    "is_live",
    "new_secret",
    "secret_hash",
    "secrets_in",
    "state_of",
]


class Registry:
    """The register in the database. ``now`` is the clock, in seconds since 1970.

    ``client_cache_seconds``: for how long a client that was found is kept in this process.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], float] = time.time,
        client_cache_seconds: int = 0,
    ) -> None:
        self.database = database
        self.clients = Clients(database, now)
        self.limits = ClientLimits(database)
        self.secrets = ClientSecrets(database, now)
        self.resources = Resources(database, now)
        self.last_use = LastUse(database, now)
        self._cache = ClientCache(
            lambda client_id: find_client(database, client_id, now()), client_cache_seconds, now
        )

    def find_client(self, client_id: str) -> RegisteredClient | None:
        """Return the client with its live secrets and its scopes, all in one read."""
        return self._cache.read(client_id)

    def kept_client(self, client_id: str) -> RegisteredClient | None:
        """Return what was read of the client a moment ago; None where nothing is kept of it.

        Whoever would refuse it something asks `find_client` first.
        """
        return self._cache.kept(client_id)
