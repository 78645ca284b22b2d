"""When each secret was last used: noted once a minute at most, and never at a token's expense.

A process collects the uses of a second and writes them in one statement: of a million clients, each
request may be another's, and a commit for each would cost more than its token. A process that is
killed takes the uses of its last second with it.
"""

import atexit
import json
import logging
import time
import weakref
from collections.abc import Callable
from functools import cache
from itertools import islice
from threading import Lock, Timer

from sqlalchemy import JSON, Executable, String, bindparam, cast, func, not_, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from auth_server.models import ClientSecret
from auth_server.registry.bounded import Bounded
from auth_server.registry.registered_client import LiveSecret
from shared.database import Database

NOTED_EVERY_SECONDS = 60
WRITTEN_EVERY_SECONDS = 1
RETRY_SECONDS = 5
MOST_AT_ONCE = 512
"""So many uses are one statement: SQLite lets nobody else write meanwhile, some 20 ms."""
MOST_UNWRITTEN = 50_000

log = logging.getLogger(__name__)

_LAST = ClientSecret.last_used_at
_WITHIN_A_MINUTE = _LAST.between(bindparam("then"), bindparam("now"))
_IS_DUE = or_(_LAST.is_(None), not_(_WITHIN_A_MINUTE))


@cache
def _statements(dialect: str) -> tuple[Executable, Executable]:
    """Return what notes the use of `secret_ids`, a JSON array, and what reads what is noted.

    As a parameter for each, they would be a text that is made anew for each batch, in as much time
    as SQLite takes for it.
    """
    array = bindparam("secret_ids", type_=String)
    if dialect == "postgresql":
        elements = func.json_array_elements_text(cast(array, JSON))
    else:
        elements = func.json_each(array)
    them = elements.table_valued("value")
    is_one_of_them = ClientSecret.secret_id.in_(select(them.c.value))
    due = select(ClientSecret.secret_id).where(is_one_of_them, _IS_DUE)
    # What another transaction changes at this moment is passed over; it is noted at its next use.
    due = due.with_for_update(skip_locked=True, of=ClientSecret)
    note = update(ClientSecret).where(ClientSecret.secret_id.in_(due))
    noted = select(ClientSecret.secret_id, _LAST).where(is_one_of_them)
    return note.values(last_used_at=bindparam("now")), noted


class LastUse:
    """Notes uses of secrets, for all threads of a process.

    It remembers what was noted, so that a use costs no database access in between.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._due_at: Bounded[str, float] = Bounded()
        self._unwritten: dict[str, None] = {}
        self._next_writing_at = 0.0
        self._is_timed = self._is_written_at_exit = False
        self._claiming, self._writing = Lock(), Lock()

    def is_due(self, secret: LiveSecret) -> bool:
        """Tell whether `note` has anything to do; after most uses of ``secret`` it has not."""
        now = self._now()
        return bool(self._unwritten and now >= self._next_writing_at) or self._is_due(secret, now)

    def note(self, secret: LiveSecret) -> None:
        """Note that ``secret`` is used now; a database that is busy or away is no error.

        It is written at once where nothing was written a moment ago, else within a second.
        """
        now = self._now()
        with self._claiming:
            if self._is_due(secret, now):
                self._due_at.put(secret.secret_id, now + NOTED_EVERY_SECONDS)
                self._unwritten[secret.secret_id] = None
            if not self._unwritten:
                return
            wait = self._next_writing_at - now
            if self._is_timed and wait > -WRITTEN_EVERY_SECONDS:  # else the timer is late
                return
            if 0 < wait <= RETRY_SECONDS:  # more: the clock was put back
                self._write_in(wait)
                return
            if self._writing.locked():  # a request does not wait for that
                self._write_in(WRITTEN_EVERY_SECONDS)
                return
            self._next_writing_at = now + WRITTEN_EVERY_SECONDS
        self.write()

    def write(self) -> None:
        """Write the uses that are not written yet."""
        with self._writing:
            self._write_all()

    def write_as_timed(self) -> None:
        """Write, as the timer or the end of the process has it."""
        with self._writing:
            with self._claiming:
                self._is_timed = False
            self._write_all()

    def _write_all(self) -> None:
        """Write, as the thread that holds ``_writing``."""
        while batch := self._next_batch():
            try:
                self._note(batch, int(self._now()))
            except SQLAlchemyError as error:
                self._put_off(error)
                return
            with self._claiming:
                self._next_writing_at = self._now() + WRITTEN_EVERY_SECONDS
                for secret_id in batch:
                    del self._unwritten[secret_id]

    def _next_batch(self) -> list[str]:
        with self._claiming:
            return list(islice(self._unwritten, MOST_AT_ONCE))

    def _is_due(self, secret: LiveSecret, now: float) -> bool:
        stored = (secret.last_used_at or 0) + NOTED_EVERY_SECONDS
        wait = max(self._due_at.get(secret.secret_id) or 0, stored) - now
        is_clock_put_back = wait > NOTED_EVERY_SECONDS
        return wait <= 0 or is_clock_put_back

    def _write_in(self, seconds: float) -> None:
        """Let a timer write, as nobody may come to do it; the end of the process does as well.

        Neither keeps this object alive. Called by the thread that holds ``_claiming``.
        """
        if self._is_timed:
            return
        self._is_timed = True
        uses = weakref.ref(self)
        if not self._is_written_at_exit:
            self._is_written_at_exit = True
            atexit.register(_write_if_alive, uses)
        timer = Timer(seconds, _write_if_alive, (uses,))
        timer.daemon = True
        timer.start()

    def _put_off(self, error: SQLAlchemyError) -> None:
        with self._claiming:
            count = len(self._unwritten)
            log.warning("the use of %d secrets is not noted yet: %s", count, type(error).__name__)
            for secret_id in list(islice(self._unwritten, max(0, count - MOST_UNWRITTEN))):
                del self._unwritten[secret_id]
            self._next_writing_at = self._now() + RETRY_SECONDS
            self._write_in(RETRY_SECONDS)

    def _note(self, secret_ids: list[str], now: int) -> None:
        """Note the use of those that no other process noted within the last minute."""
        times = {"now": now, "then": now - NOTED_EVERY_SECONDS + 1}
        with self._database.writing_if_free() as session:
            connection = session.connection()
            note, read_noted = _statements(connection.dialect.name)
            them = {"secret_ids": json.dumps(secret_ids)}
            noted = connection.execute(note, {**them, **times}).rowcount
            if noted == len(secret_ids):
                return
            stored = connection.execute(read_noted, them).all()
        for secret_id, last in stored:
            self._due_at.put(secret_id, (last or 0) + NOTED_EVERY_SECONDS)


def _write_if_alive(reference: "weakref.ref[LastUse]") -> None:
    uses = reference()
    if uses is not None:
        uses.write_as_timed()
