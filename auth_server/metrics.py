"""What this server counts, for Prometheus: token requests, and the life of its keys.

A client's name is a label only where it is registered, and only for so many: whoever invents
client ids makes no new series.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus

from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from auth_server import audit
from auth_server.models import SigningKey
from auth_server.registry import RegisteredClient
from auth_server.signing_keys import SigningKeys, State
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
        self._token_requests = self.all.counter(
            "auth_server_token_requests_total",
            "Token requests, by client (unknown: none that is registered) and outcome.",
            ["client", "outcome"],
        )
        self._seconds = self.all.durations(
            "auth_server_token_request_seconds", "How long it took to answer a token request."
        )
        self._throttled = self.all.counter(
            "auth_server_throttled_failures_total", "Failures that were answered 429."
        )
        self._client_cache = self.all.counter(
            "auth_server_client_cache_total", "Look-ups of a client in the cache.", ["result"]
        )
        self._show_signing_keys(keys, now)

    def count_token_request(self, client: str | None, outcome: str, seconds: float | None) -> None:
        """Count a token request of ``client``; None: it claims to be none that is registered.

        ``outcome`` is `issued` or the error code. ``seconds`` is how long it took, None where it
        was refused before that was measured.
        """
        label = UNKNOWN if client is None else self._clients.label(client)
        self._token_requests.labels(label, outcome).inc()
        if seconds is not None:
            self._seconds.observe(seconds)

    def count_throttled_failure(self) -> None:
        """Count a failure that was answered 429."""
        self._throttled.inc()

    def count_client_cache(self, *, hit: bool) -> None:
        """Count a look-up in the cache of clients."""
        self._client_cache.labels("hit" if hit else "miss").inc()

    def _show_signing_keys(self, keys: SigningKeys, now: Callable[[], float]) -> None:
        self.all.read_when_asked(
            "auth_server_signing_keys",
            "Signing keys, by algorithm and state.",
            ["algorithm", "state"],
            lambda: _numbers(_states(keys)),
        )
        self.all.read_when_asked(
            "auth_server_signing_key_next_change_timestamp_seconds",
            "When a waiting key of an algorithm becomes active; absent where none waits.",
            ["algorithm"],
            lambda: _next_changes(_states(keys), now()),
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
        g.began = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            metrics.count_throttled_failure()
        if request.path == TOKEN_PATH:
            facts = audit.noted()
            seconds = time.perf_counter() - g.began if "began" in g else None
            issued = response.status_code < 400
            outcome = ISSUED if issued else facts.get("error", str(response.status_code))
            metrics.count_token_request(_registered_client(facts), outcome, seconds)
        return response


def _registered_client(facts: dict[str, str]) -> str | None:
    """Return the client that asked, proven or claimed, if it is registered."""
    if "client_id" in facts:
        return facts["client_id"]
    return facts["claimed_client_id"] if facts.get("is_registered") else None


def _states(keys: SigningKeys) -> list[tuple[SigningKey, State]]:
    try:
        return keys.states()
    except SQLAlchemyError as error:
        log.warning("the signing keys cannot be read: %s", type(error).__name__)
        return []


def _numbers(states: list[tuple[SigningKey, State]]) -> list[Value]:
    counted = Counter((row.algorithm, state) for row, state in states)
    return [(labels, number) for labels, number in counted.items()]


def _next_changes(states: list[tuple[SigningKey, State]], now: float) -> list[Value]:
    waiting = [row for row, _state in states if row.active_from > now]
    return [
        ((algorithm,), min(row.active_from for row in waiting if row.algorithm == algorithm))
        for algorithm in {row.algorithm for row in waiting}
    ]
