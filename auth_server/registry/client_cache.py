"""The clients that asked a moment ago: a request of theirs needs no read of the database.

It never refuses. Whoever finds that a kept client may not do something reads it once more, so a
new secret or a new right works at once. What was taken away works for as long as it is kept.
"""

from collections.abc import Callable

from auth_server.registry.bounded import SIZE, Bounded
from auth_server.registry.registered_client import RegisteredClient


class ClientCache:
    """Keeps what was read of a client for ``seconds``, in one process. Thread safe."""

    def __init__(
        self,
        read: Callable[[str], RegisteredClient | None],
        seconds: int,
        now: Callable[[], float],
        size: int = SIZE,
    ) -> None:
        self._read, self._seconds, self._now = read, seconds, now
        self._kept: Bounded[str, tuple[RegisteredClient, float]] = Bounded(size)

    def kept(self, client_id: str) -> RegisteredClient | None:
        """Return what is kept of the client; None says nothing of whether there is one."""
        found = self._kept.get(client_id)
        if found is None:
            return None
        client, read_at = found
        # A clock that was put back must not keep it longer.
        return client if abs(self._now() - read_at) < self._seconds else None

    def read(self, client_id: str) -> RegisteredClient | None:
        """Read the client, and keep it if it may have a token.

        A client that is unknown or disabled, or has no scope, is read at every request.
        """
        read_at = self._now()  # before the read: what changes during it must not be kept longer
        client = self._read(client_id)
        if client is not None and self._seconds and client.may_have_a_token:
            self._kept.put(client_id, (client, read_at))
        else:
            self._kept.discard(client_id)
        return client
