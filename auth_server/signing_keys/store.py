"""The signing keys in the database, which all processes share; `plan.py` says what is due.

Each change is one transaction, so a process may be killed between any two statements. Two
processes that see the same need at once both try: the lock on the rows, or else the unique
generation, lets one of them through.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, OctKey
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from auth_server import audit
from auth_server.jwk import PrivateKey, new_private_key
from auth_server.models import SigningKey
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys.change import ERASED, Change, KeyExistsError, ReadyKey, times_of
from auth_server.signing_keys.encryption import KeyEncryption, KeysCannotBeOpenedError
from auth_server.signing_keys.life import state
from auth_server.signing_keys.plan import Changes, Rules, changes_due
from shared.database import Database

log = logging.getLogger(__name__)

TRIES = 3


class PrivatePart:
    """The private part of a key: decrypted, and made a key when somebody first asks for that.

    To judge the primes of an RSA key takes 30 ms, and of those that a process reads at its start
    one signs. ``private_jwk`` is JSON; it is not kept longer than it takes.
    """

    def __init__(self, private_jwk: bytes) -> None:
        self._private_jwk = private_jwk
        self._key: PrivateKey | None = None
        self._making = Lock()

    def key(self) -> PrivateKey:
        """Return the key; raises KeysCannotBeOpenedError where what was stored is none."""
        with self._making:
            if self._key is None:
                self._key = _private_key(self._private_jwk)
                self._private_jwk = b""
        return self._key


class KeyStore:
    """Reads the signing keys, and makes and activates those that are due."""

    def __init__(
        self,
        database: Database,
        encryption: KeyEncryption,
        rules: Rules,
        now: Callable[[], float] = time.time,
        make_key: Callable[[SigningAlgorithm], PrivateKey] = new_private_key,
    ) -> None:
        self.encryption = encryption
        self.rules = rules
        self.now = now
        self.make_key = make_key
        self._database = database

    def rows(self) -> list[SigningKey]:
        """Return all keys that there ever were, by algorithm and age."""
        with self._database.reading() as session:
            return _rows(session)

    def see_to_it(self) -> list[SigningKey]:
        """Write what is due and return all keys; where nothing is, as nearly always, read alone.

        Raises KeysUnavailableError or SQLAlchemyError where it has to write and cannot.
        """
        rows = self.rows()
        for _ in range(TRIES):
            due = self._due(rows)
            if not due:
                break
            self._write(due)
            rows = self.rows()
        return rows

    def open_all(self) -> None:
        """Raise KeysUnavailableError where a key that signs, or is to, cannot be opened.

        Only decrypted: to judge its primes takes 30 ms of a start, and who signs does it.
        """
        rows, now = self.rows(), self.now()
        times = times_of(rows)
        for row, key in zip(rows, times, strict=True):
            if state(key, times, now) in {"pending", "active"}:
                self._decrypted(row)

    def opened(self, row: SigningKey) -> PrivatePart | None:
        """Return the private part of ``row``; None where it was erased.

        Raises KeysCannotBeOpenedError, KeyEncryptionUnreadableError.
        """
        private_jwk = self._decrypted(row)
        return None if private_jwk is None else PrivatePart(private_jwk)

    def _decrypted(self, row: SigningKey) -> bytes | None:
        if row.encrypted_private_jwk == ERASED:
            return None
        return self.encryption.decrypt(row.encrypted_private_jwk)

    @contextmanager
    def changing(self, ready: Iterable[ReadyKey] = ()) -> Iterator[Change]:
        """Open a change of the keys, all or nothing; others who want one wait.

        ``ready`` are keys made before, as an RSA key takes a while. Raises KeyExistsError where
        another made a key of the same generation, as nothing was there to lock.
        """
        try:
            with self._database.writing() as session:
                # On SQLite `writing` has locked already. Two statements: the second one sees what
                # was committed while the first waited.
                session.execute(select(SigningKey.kid).order_by(SigningKey.kid).with_for_update())
                yield self._change(session, _rows(session), ready)
        except IntegrityError as error:
            raise KeyExistsError("this key, or one of the same age, is there already") from error

    def _change(
        self, session: Session, rows: list[SigningKey], ready: Iterable[ReadyKey]
    ) -> Change:
        parts = (self.rules, self.encryption, self.make_key)
        return Change(session, rows, self.now(), *parts, list(ready))

    def _write(self, due: Changes) -> None:
        ready = [(new.algorithm, self.make_key(new.algorithm)) for new in due.make]
        try:
            with self.changing(ready) as change:
                done = self._due(change.rows)
                change.apply(done)
        except KeyExistsError:
            log.info("another process saw to the signing keys in the same moment")
            return
        for kid, _active_from in done.activate:
            audit.record("keys rotate", "done", kid=kid, reason="it was due")

    def _due(self, rows: Sequence[SigningKey]) -> Changes:
        return changes_due(times_of(rows), self.rules, self.now())


def _rows(session: Session) -> list[SigningKey]:
    by_age = select(SigningKey).order_by(SigningKey.algorithm, SigningKey.generation)
    return list(session.scalars(by_age))


def _private_key(private_jwk: bytes) -> PrivateKey:
    try:
        key = JWKRegistry.import_key(json.loads(private_jwk))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise KeysCannotBeOpenedError("what is stored as a private key is none") from error
    assert not isinstance(key, OctKey), "none is ever stored"
    return key
