"""What this server counts, for Prometheus: token requests, and the life of its keys.

A client's name is a label only where it is registered, and only for so many: whoever invents
client ids makes no new series.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus

from flask import Flask, Response
from sqlalchemy.exc import SQLAlchemyError

from auth_server import audit
from auth_server.registry import RegisteredClient
from auth_server.signing_keys import SigningKeys
from auth_server.signing_keys.change import times_of
from auth_server.signing_keys.life import KeyTimes, leaves_at, state
from shared.at_hand import this_g, this_request
from shared.identifiers import TOKEN_PATH
from shared.metrics import EXTENSION, BoundedNames, Metrics

log = logging.getLogger(__name__)

CLIENTS_BY_NAME = 100
UNKNOWN = "unknown"
ISSUED = "issued"

Value = tuple[Sequence[str], float]


class AuthServerMetrics:
    """The metrics of this server: some are counted by these methods, some read when asked for."""

    def __init__(self, keys: SigningKeys, now: Callable[[], float] = time.time) -> None:
        self.all = Metrics()
        self._clients = BoundedNames(CLIENTS_BY_NAME)
        token_requests = self.all.counter(
            "auth_server_token_requests_total",
            "Token requests, by client (unknown: none that is registered) and outcome.",
            ["client", "outcome"],
        )
        self._counted = cache(token_requests.labels)  # as few as there are series
        self._seconds = self.all.durations(
            "auth_server_token_request_seconds", "How long it took to answer a token request."
        )
        self._throttled = self.all.counter(
            "auth_server_throttled_failures_total", "Failures that were answered 429."
        )
        client_cache = self.all.counter(
            "auth_server_client_cache_total", "Look-ups of a client in the cache.", ["result"]
        )
        self._hits, self._misses = client_cache.labels("hit"), client_cache.labels("miss")
        self._show_signing_keys(keys, now)

    def show_ends_of_secrets(self, ends: Callable[[], tuple[int, int | None]]) -> None:
        """Show how many secrets end soon and leave their client with none, and when the first does.

        ``ends`` reads both from the database.
        """
        self.all.read_when_asked(
            "auth_server_client_secrets_ending",
            "Secrets whose end is near and leaves their client with none.",
            [],
            lambda: [((), count) for count, _first in _read(ends)],
        )
        self.all.read_when_asked(
            "auth_server_client_secrets_next_end_timestamp_seconds",
            "When the first of them ends; absent where none does soon.",
            [],
            lambda: [((), first) for _count, first in _read(ends) if first is not None],
        )

    def count_token_request(self, client: str | None, outcome: str, seconds: float | None) -> None:
        """Count a token request of ``client``; None: it claims to be none that is registered.

        ``outcome`` is `issued` or the error code. ``seconds`` is how long it took, None where it
        was refused before that was measured.
        """
        label = UNKNOWN if client is None else self._clients.label(client)
        self._counted(label, outcome).inc()
        if seconds is not None:
            self._seconds.observe(seconds)

    def count_throttled_failure(self) -> None:
        """Count a failure that was answered 429."""
        self._throttled.inc()

    def count_client_cache(self, *, hit: bool) -> None:
        """Count a look-up in the cache of clients."""
        (self._hits if hit else self._misses).inc()

    def _show_signing_keys(self, keys: SigningKeys, now: Callable[[], float]) -> None:
        self.all.read_when_asked(
            "auth_server_signing_keys",
            "Signing keys, by algorithm and state.",
            ["algorithm", "state"],
            lambda: _numbers(_times(keys), now()),
        )
        self.all.read_when_asked(
            "auth_server_signing_key_next_change_timestamp_seconds",
            "When a key of an algorithm next begins to sign, or leaves the JWKS.",
            ["algorithm"],
            lambda: _next_changes(_times(keys), now()),
        )


def counting_hits(
    kept_client: Callable[[str], RegisteredClient | None], metrics: AuthServerMetrics
) -> Callable[[str], RegisteredClient | None]:
    """Return ``kept_client``, which counts how often the cache knows the client."""

    def kept(client_id: str) -> RegisteredClient | None:
        client = kept_client(client_id)
        metrics.count_client_cache(hit=client is not None)
        return client

    return kept


def measure_token_requests(app: Flask, metrics: AuthServerMetrics) -> None:
    """Count every token request of ``app``, whatever way it ends."""
    app.extensions[EXTENSION] = metrics.all

    @app.before_request
    def begin() -> None:
        this_g().began = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            metrics.count_throttled_failure()
        if this_request().environ["PATH_INFO"] == TOKEN_PATH:
            facts = audit.noted()
            began = this_g().get("began")
            seconds = None if began is None else time.perf_counter() - began
            issued = response.status_code < 400
            outcome = ISSUED if issued else facts.get("error", str(response.status_code))
            metrics.count_token_request(_registered_client(facts), outcome, seconds)
        return response


def _registered_client(facts: dict[str, str]) -> str | None:
    """Return the client that asked, proven or claimed, if it is registered."""
    if "client_id" in facts:
        return facts["client_id"]
    return facts["claimed_client_id"] if facts.get("is_registered") else None


def _read(ends: Callable[[], tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    """Return what ``ends`` reads; nothing where it can't, as 0 would be no alarm."""
    try:
        return [ends()]
    except SQLAlchemyError as error:
        log.warning("the secrets that end soon cannot be read: %s", type(error).__name__)
        return []


def _times(keys: SigningKeys) -> list[KeyTimes]:
    try:
        return times_of(keys.store.rows())
    except SQLAlchemyError as error:
        log.warning("the signing keys cannot be read: %s", type(error).__name__)
        return []


def _numbers(keys: list[KeyTimes], now: float) -> list[Value]:
    counted = Counter((key.algorithm, state(key, keys, now)) for key in keys)
    return [(labels, number) for labels, number in counted.items()]


def _next_changes(keys: list[KeyTimes], now: float) -> list[Value]:
    changes = [
        (key.algorithm, at)
        for key in keys
        if key.revoked_at is None
        for at in (key.active_from, leaves_at(key, keys))
        if at is not None and at > now
    ]
    return [
        ((algorithm,), min(at for of, at in changes if of == algorithm))
        for algorithm in {of for of, _at in changes}
    ]
