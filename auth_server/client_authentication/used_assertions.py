"""The assertions that were accepted: each once, in whichever process or replica it comes.

One row for each, on the disk before there is a token, and kept until it would be refused as
expired anyway; the primary key is what refuses a second use. What threads bring at once is one
commit, as a commit waits for the disk. Rows past their end are deleted in passing, some at a time.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from sqlalchemy import Executable, bindparam, delete, select
from sqlalchemy.exc import SQLAlchemyError

from auth_server.models import UsedAssertion
from shared.database import Database, insert_on

log = logging.getLogger(__name__)

CLOCK_DIFFERENCE_SECONDS = 60
"""How far the clocks of two replicas may be apart before one forgets what another still takes."""

CLEANING_INTERVAL_SECONDS = 10
ROWS_PER_CLEANING = 1000


@dataclass(slots=True, eq=False)
class _Use:
    """A row to be written; then whether it is the first of its hash, or why nobody knows."""

    assertion_hash: str
    expires_at: int
    is_first: bool | None = None
    error: SQLAlchemyError | None = None


class UsedAssertions:
    """Remembers assertions in the database. ``now`` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._next_cleaning = 0.0
        self._waiting: list[_Use] = []
        self._queueing, self._writing = Lock(), Lock()

    def is_first_use(self, client_id: str, jti: str, ends_at: float) -> bool:
        """Note that the assertion ``jti`` of the client was used; tell whether it had not been.

        ``ends_at`` is when it will be refused for its age. When this returns True, that is on the
        disk.
        """
        use = _Use(
            hashlib.sha256(f"{client_id} {jti}".encode()).hexdigest(),
            int(ends_at) + 1 + CLOCK_DIFFERENCE_SECONDS,
        )
        if not self._is_written_as_first(use):
            return False
        self._clean_up_now_and_then()
        return True

    def _is_written_as_first(self, use: _Use) -> bool:
        """Write ``use`` together with what other threads brought while one was writing.

        A commit waits for the disk, and that is most of what an assertion costs.
        """
        with self._queueing:
            self._waiting.append(use)
        with self._writing:
            if use.is_first is None and use.error is None:
                with self._queueing:
                    others, self._waiting = self._waiting, []
                self._write([use, *(one for one in others if one is not use)])
        if use.error is not None:
            raise use.error
        return use.is_first is True

    def _write(self, uses: list[_Use]) -> None:
        first = {use.assertion_hash: use for use in reversed(uses)}
        rows = sorted(first.items())  # in one order in all processes, so none waits in a circle
        parameters: dict[str, str | int] = {}
        for number, (assertion_hash, use) in enumerate(rows):
            parameters[f"hash_{number}"] = assertion_hash
            parameters[f"expires_{number}"] = use.expires_at
        try:
            statement = _noting(len(rows), self._database.engine.dialect.name)
            new = self._database.at_once(statement, parameters)
        except SQLAlchemyError as error:
            for use in uses:
                use.error = error
            return
        written = {assertion_hash for (assertion_hash,) in new}
        for use in uses:
            use.is_first = first[use.assertion_hash] is use and use.assertion_hash in written

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


@lru_cache
def _noting(count: int, dialect: str) -> Executable:
    """Return what inserts so many rows, and returns the hashes of those that were not there."""
    rows: list[dict[str, object]] = [
        {"assertion_hash": bindparam(f"hash_{one}"), "expires_at": bindparam(f"expires_{one}")}
        for one in range(count)
    ]
    noting = insert_on(dialect, UsedAssertion).values(rows).on_conflict_do_nothing()
    return noting.returning(UsedAssertion.assertion_hash)
