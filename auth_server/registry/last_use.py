"""When each secret was last used: noted once a minute at most, and never at a token's expense."""

import logging
import time
from collections.abc import Callable
from threading import Lock

from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from auth_server.models import ClientSecret
from auth_server.registry.bounded import Bounded
from auth_server.registry.registered_client import LiveSecret
from shared.database import Database

NOTED_EVERY_SECONDS = 60
RETRY_SECONDS = 5

log = logging.getLogger(__name__)


class LastUse:
    """Notes uses of secrets, for all threads of a process.

    It remembers what was noted, so that a use costs no database access in between.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._due_at: Bounded[str, float] = Bounded()
        self._claiming = Lock()

    def note(self, secret: LiveSecret) -> None:
        """Note that ``secret`` is used now; a database that is busy or away is no error."""
        now = self._now()
        if not self._is_mine_to_note(secret, now):
            return
        try:
            noted_at = self._noted(secret.secret_id, int(now))
        except SQLAlchemyError as error:
            log.warning(
                "the use of the secret %s is not noted: %s", secret.secret_id, type(error).__name__
            )
            self._due_at.put(secret.secret_id, now + RETRY_SECONDS)
        else:
            self._due_at.put(secret.secret_id, noted_at + NOTED_EVERY_SECONDS)

    def _is_mine_to_note(self, secret: LiveSecret, now: float) -> bool:
        """Tell whether it is time, and claim it: of many threads, one writes."""
        with self._claiming:
            stored = (secret.last_used_at or 0) + NOTED_EVERY_SECONDS
            wait = max(self._due_at.get(secret.secret_id) or 0, stored) - now
            if 0 < wait <= NOTED_EVERY_SECONDS:  # more: the clock was put back
                return False
            self._due_at.put(secret.secret_id, now + NOTED_EVERY_SECONDS)
            return True

    def _noted(self, secret_id: str, now: int) -> int:
        """Return when the secret was last noted: now, or by another process a moment ago."""
        last = ClientSecret.last_used_at
        is_due = or_(last.is_(None), last <= now - NOTED_EVERY_SECONDS, last > now)
        noting = (
            update(ClientSecret)
            .where(ClientSecret.secret_id == secret_id, is_due)
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )
        with self._database.writing_if_free() as session:
            if session.connection().execute(noting).rowcount:
                return now
            return session.scalar(select(last).where(ClientSecret.secret_id == secret_id)) or now
