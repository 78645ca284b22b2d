"""Secrets whose end comes near: said in the log, while there is time to rotate them."""

import logging
import time
from collections.abc import Callable

from auth_server.registry.bounded import Bounded
from auth_server.registry.registered_client import LiveSecret, RegisteredClient
from auth_server.registry.third_secret import when

SAID_EVERY_SECONDS = 3600

log = logging.getLogger(__name__)


class NearEnds:
    """Warns of the end of a secret that is in use: for each, once an hour in a process."""

    def __init__(self, warning_seconds: int, now: Callable[[], float] = time.time) -> None:
        self._warning_seconds = warning_seconds
        self._now = now
        self._said_at: Bounded[str, float] = Bounded()

    def is_near(self, secret: LiveSecret) -> bool:
        """Tell whether ``secret`` ends soon."""
        end = secret.expires_at
        return end is not None and end - self._now() <= self._warning_seconds

    def warn(self, client: RegisteredClient, secret: LiveSecret) -> None:
        """Say that ``secret``, which ``client`` has just used, ends soon, if it does."""
        now, end = self._now(), secret.expires_at
        if end is None or not self.is_near(secret):
            return
        said_at = self._said_at.get(secret.secret_id)
        if said_at is not None and abs(now - said_at) < SAID_EVERY_SECONDS:
            return
        self._said_at.put(secret.secret_id, now)
        newer = any(one.expires_at is None or one.expires_at > end for one in client.secrets)
        log.warning(
            "%s uses the secret %s, which ends at %s: %s",
            client.client_id,
            secret.secret_id,
            when(end),
            "it does not use its newer one yet" if newer else "rotate it",
        )
