"""The assertions that were accepted: each once, in whichever process or replica it comes.

One row for each, kept until it would be refused as expired anyway; the primary key is what refuses
a second use. Rows past their end are deleted in passing, some at a time.
"""

import hashlib
import logging
from collections.abc import Callable

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from auth_server.models import UsedAssertion
from shared.database import Database

log = logging.getLogger(__name__)

CLOCK_DIFFERENCE_SECONDS = 60
"""How far the clocks of two replicas may be apart before one forgets what another still takes."""

CLEANING_INTERVAL_SECONDS = 10
ROWS_PER_CLEANING = 1000


class UsedAssertions:
    """Remembers assertions in the database. ``now`` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._next_cleaning = 0.0

    def is_first_use(self, client_id: str, jti: str, ends_at: float) -> bool:
        """Note that the assertion ``jti`` of the client was used; tell whether it had not been.

        ``ends_at`` is when it will be refused for its age.
        """
        row = UsedAssertion(
            assertion_hash=hashlib.sha256(f"{client_id} {jti}".encode()).hexdigest(),
            expires_at=int(ends_at) + 1 + CLOCK_DIFFERENCE_SECONDS,
        )
        try:
            with self._database.writing() as session:
                session.add(row)
        except IntegrityError:
            return False
        self._clean_up_now_and_then()
        return True

    def _clean_up_now_and_then(self) -> None:
        now = self._now()
        if now < self._next_cleaning:
            return
        self._next_cleaning = now + CLEANING_INTERVAL_SECONDS
        try:
            if self._delete_some_that_ended(now) == ROWS_PER_CLEANING:
                self._next_cleaning = now  # there may be more
        except SQLAlchemyError as error:
            log.warning("could not delete used assertions: %s", type(error).__name__)

    def _delete_some_that_ended(self, now: float) -> int:
        """Delete rows that ended; processes that do so at once each take other ones."""
        ended = (
            select(UsedAssertion.assertion_hash)
            .where(UsedAssertion.expires_at < int(now))
            .limit(ROWS_PER_CLEANING)
            .with_for_update(skip_locked=True)
        )
        with self._database.writing() as session:
            hashes = session.scalars(ended).all()
            if hashes:
                session.execute(
                    delete(UsedAssertion).where(UsedAssertion.assertion_hash.in_(hashes))
                )
        return len(hashes)
