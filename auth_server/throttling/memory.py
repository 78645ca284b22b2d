"""Failures counted in the memory of this process.

Each process has counts of its own: with N workers up to N times as many failures pass, and a
restart forgets them.
"""

import time
from collections.abc import Callable
from threading import Lock

from auth_server.throttling.failure_counts import Failure, Limits

MOST_WINDOWS = 10_000


class CountsInMemory:
    """Counts for all threads of a process, of bounded size. ``now`` only ever runs forward."""

    def __init__(
        self,
        limits: Limits,
        now: Callable[[], float] = time.monotonic,
        most_windows: int = MOST_WINDOWS,
    ) -> None:
        self._now = now
        # Two, so that no address can crowd others out of theirs with clients that it makes up.
        self._addresses = _Windows(limits.per_address, limits.window_seconds, most_windows)
        self._clients = _Windows(limits.per_client, limits.window_seconds, most_windows)
        self._counting = Lock()

    def count(self, failure: Failure) -> float:
        """Count ``failure``; return the seconds until the limit it is past ends, else 0."""
        with self._counting:
            now = self._now()
            wait = self._addresses.count(failure.address, now)
            if wait > 0 or failure.client is None:
                return wait
            return self._clients.count(failure.client, now)

    def __len__(self) -> int:
        """Return how many windows are held, over or not."""
        return len(self._addresses) + len(self._clients)


class _Windows:
    """A count and its end for each key. All windows are as long, so the first ends first."""

    def __init__(self, limit: int, seconds: int, most: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._most = most
        self._counts: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, key: str, now: float) -> float:
        count, end = self._counts.get(key, (0, now))
        if end <= now:
            count, end = 0, self._opened(key, now)
        self._counts[key] = (count + 1, end)
        # The end was rounded: by so much the difference may be longer than a window.
        return min(end - now, self._seconds) if count >= self._limit else 0.0

    def _opened(self, key: str, now: float) -> float:
        """Make room for a window of ``key`` at the end of the row, and return when it ends.

        The oldest gives way: bounded memory is worth more here than a count that is never lost.
        """
        self._counts.pop(key, None)
        if len(self._counts) >= self._most:
            del self._counts[next(iter(self._counts))]
        return now + self._seconds
