"""The keys of a client now: those it registered, or those at its `jwks_uri`, fetched and kept.

What was fetched is kept for a time, and for longer where it can't be fetched again. For an
assertion that no kept key fits it is fetched once more, as the client may have a new key (OIDC
Core §10.1.1); but not before a cool-down is over, as anybody can make up a `kid`.

This waits for a server of the client's, so no session of the database may be open around it.
"""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from auth_server.client_authentication.jwks_fetch import FetchError
from auth_server.client_jwks import ClientKey, client_keys, fitting_key, registered_keys
from auth_server.jwk import UnsuitableKeyError
from auth_server.registry import RegisteredClient

log = logging.getLogger(__name__)

KEPT_URIS: Final = 10_000


@dataclass(frozen=True, slots=True)
class KeepingRules:
    """How long fetched keys are kept, in seconds; the settings explain each."""

    max_age: float
    cooldown: float
    outage: float


class ClientKeys:
    """Finds the keys of clients. Safe to share between threads: one fetches a URI at a time."""

    def __init__(
        self,
        fetch: Callable[[str], Mapping[str, Any]],
        rules: KeepingRules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._rules = rules
        self._clock = clock
        self._kept: OrderedDict[str, _KeptJwks] = OrderedDict()
        self._keeping = Lock()

    def key_of(self, client: RegisteredClient, kid: str | None, algorithm: str) -> ClientKey | None:
        """Return the one key of ``client`` that fits; None where there is none, or more."""
        if client.jwks_uri is not None:
            return self._fetched_key(client.jwks_uri, kid, algorithm)
        if client.jwks is None:
            return None
        try:
            return fitting_key(registered_keys(client.jwks), kid, algorithm)
        except UnsuitableKeyError as error:  # it was registered under other rules
            log.warning("the keys of %s cannot be used: %s", client.client_id, error)
            return None

    def _fetched_key(self, uri: str, kid: str | None, algorithm: str) -> ClientKey | None:
        kept = self._at(uri)
        key = fitting_key(kept.keys, kid, algorithm)
        if key is None or not kept.is_fresh(self._clock()):
            self._renew(kept, kid, algorithm)
            key = fitting_key(kept.keys, kid, algorithm)
        return key if kept.is_fresh(self._clock() - self._rules.outage) else None

    def _at(self, uri: str) -> "_KeptJwks":
        """Return what is kept of ``uri``; of too many, the one unused for longest is dropped."""
        with self._keeping:
            kept = self._kept.setdefault(uri, _KeptJwks(uri))
            self._kept.move_to_end(uri)
            if len(self._kept) > KEPT_URIS:
                self._kept.popitem(last=False)
            return kept

    def _renew(self, kept: "_KeptJwks", kid: str | None, algorithm: str) -> None:
        """Fetch the keys, unless another thread does or did, or the cool-down is not over.

        Who has a key to go on with does not wait for the thread that fetches.
        """
        has_a_key = fitting_key(kept.keys, kid, algorithm) is not None
        if not kept.fetching.acquire(blocking=not has_a_key):
            return
        try:
            fits = fitting_key(kept.keys, kid, algorithm) is not None
            was_fresh = kept.is_fresh(self._clock())
            if (fits and was_fresh) or self._clock() < kept.no_fetch_before:
                return
            if not self._fetch_into(kept) or was_fresh:
                kept.no_fetch_before = self._clock() + self._rules.cooldown
        finally:
            kept.fetching.release()

    def _fetch_into(self, kept: "_KeptJwks") -> bool:
        """Fetch what is at the URI; tell whether it could be used."""
        try:
            kept.keys = client_keys(self._fetch(kept.uri))
        except (FetchError, UnsuitableKeyError) as error:
            log.warning("cannot use the keys at %s: %s", kept.uri, error)
            return False
        kept.fresh_until = self._clock() + self._rules.max_age
        return True


@dataclass(slots=True)
class _KeptJwks:
    """What is known of one URI. Only the thread that holds ``fetching`` writes to it."""

    uri: str
    keys: tuple[ClientKey, ...] = ()
    fresh_until: float = -math.inf
    no_fetch_before: float = -math.inf
    fetching: Lock = field(default_factory=Lock, repr=False)

    def is_fresh(self, now: float) -> bool:
        return now < self.fresh_until
