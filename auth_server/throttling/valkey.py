"""Failures counted in Valkey or Redis, by all workers and replicas together.

Where it can't be reached the memory of the process takes over, and is asked alone for a while: so
a server that is gone costs one timeout in some seconds, and not one for each failure. The look-up
of its host name is the one wait that the timeout does not bound.
"""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from valkey import Valkey
from valkey.exceptions import ValkeyError

from auth_server.settings import VALKEY_TLS_SCHEMES
from auth_server.throttling.failure_counts import Failure, FailureCounts, Limits

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.15
PAUSE_SECONDS = 5.0

# One after the other, in one round trip, and nobody in between: a count never stays without its
# end. Returns the milliseconds until the limit that was passed ends, else 0.
_COUNT = """
for i, key in ipairs(KEYS) do
  local count = redis.call('INCR', key)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ARGV[1]) end
  if count > tonumber(ARGV[i + 1]) then return redis.call('PTTL', key) end
end
return 0
"""


def valkey_client(url: str, password: SecretStr | None) -> Valkey:
    """Return a client of the server at ``url``, which gives up soon and tries nothing twice."""
    options: dict[str, Any] = {
        "password": password.get_secret_value() if password else None,
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
    }
    if urlsplit(url).scheme in VALKEY_TLS_SCHEMES:
        options["ssl_check_hostname"] = True  # its default takes any host's certificate
    return Valkey.from_url(url, **options)


class CountsInValkey:
    """Counts that processes share; ``instead`` counts where the server does not answer."""

    def __init__(
        self,
        client: Valkey,
        limits: Limits,
        *,
        instead: FailureCounts,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = client.register_script(_COUNT)
        self._arguments = (
            limits.window_seconds * 1000,
            limits.per_address,
            limits.per_client,
        )
        self._instead = instead
        self._now = now
        self._ask_again_at: float | None = None  # None: it answers
        self._changing = Lock()

    def count(self, failure: Failure) -> float:
        """Count ``failure``; return the seconds until the limit it is past ends, else 0."""
        if not self._may_be_asked():
            return self._instead.count(failure)
        try:
            milliseconds = self._count(keys=_keys(failure), args=self._arguments)
        except (ValkeyError, OSError) as error:
            self._is_gone(error)
            return self._instead.count(failure)
        self._is_there()
        return int(milliseconds) / 1000

    def _may_be_asked(self) -> bool:
        """Tell whether this failure may wait for the server; after a pause one tries for all."""
        with self._changing:
            if self._ask_again_at is None:
                return True
            now = self._now()
            if now < self._ask_again_at:
                return False
            self._ask_again_at = now + PAUSE_SECONDS
            return True

    def _is_gone(self, error: Exception) -> None:
        with self._changing:
            answered_before = self._ask_again_at is None
            self._ask_again_at = self._now() + PAUSE_SECONDS
        if answered_before:
            log.warning("counting failures in memory, as Valkey fails: %s", type(error).__name__)

    def _is_there(self) -> None:
        with self._changing:
            was_gone = self._ask_again_at is not None
            self._ask_again_at = None
        if was_gone:
            log.info("counting failures in Valkey again")


def _keys(failure: Failure) -> list[str]:
    """Return the keys, the address's first; in braces what a cluster keeps them together by."""
    address = f"throttling:{{{failure.address}}}"
    return [address] if failure.client is None else [address, f"{address}:{failure.client}"]
