"""The old secret of a rotation: ended before its time, once nobody uses it (`--wait`)."""

import time
from collections.abc import Callable

from auth_server.models import ClientSecret
from auth_server.registry.client_secrets import is_live, locked_client
from auth_server.registry.errors import RegistryError
from auth_server.registry.last_use import NOTED_EVERY_SECONDS, RETRY_SECONDS
from auth_server.registry.rotation import Delivered
from auth_server.registry.third_secret import when
from shared.database import Database

POLL_SECONDS = 5.0


class OldSecret:
    """Waits until the new secret is in use and the old one is not, then ends the old one.

    A client keeps a token for its lifetime before it asks again, a use is noted once a minute,
    and written a moment later, or five seconds where the database was busy: so the old secret is
    out of use when it was not seen for all that together.
    """

    def __init__(
        self,
        database: Database,
        token_lifetime_seconds: int,
        now: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database, self._lifetime = database, token_lifetime_seconds
        self._now, self._pause, self._say = now, pause, say

    def end_when_unused(self, delivered: Delivered) -> None:
        """Return when the old secret has ended, by this or by its own time.

        May be given up at any time: what was done stays, and the old secret keeps its end.
        Raises RegistryError where the new secret ends first: the old one is then left alone.
        """
        said = None
        while (waiting := self._end_or_wait(delivered)) is not None:
            if waiting != said:
                self._say(f"waiting {waiting}")
                said = waiting
            self._pause(POLL_SECONDS)

    def _end_or_wait(self, delivered: Delivered) -> str | None:
        """End the old secret if its time has come; else return what that waits for."""
        if delivered.old is None:
            return None
        with self._database.writing() as session:
            client = locked_client(session, delivered.new.client_id)
            new = session.get_one(ClientSecret, delivered.new.secret_id)
            old = session.get_one(ClientSecret, delivered.old.secret_id)
            now = self._now()
            if not is_live(old, now):
                return None
            if not is_live(new, now):
                raise RegistryError(
                    f"the new secret {new.secret_id} has ended: the old one, {old.secret_id}, is "
                    "left alone"
                )
            if new.last_used_at is None:
                return f"until the new secret {new.secret_id} is used"
            lifetime = client.access_token_lifetime_seconds or self._lifetime
            quiet = lifetime + NOTED_EVERY_SECONDS + RETRY_SECONDS
            quiet_at = max(old.last_used_at or 0, new.delivered_at or new.created_at) + quiet
            if now < quiet_at:
                return (
                    f"until the old secret {old.secret_id} has not been seen for {quiet} s: "
                    f"{when(quiet_at)} at the earliest"
                )
            old.revoked_at = int(now)
            return None
