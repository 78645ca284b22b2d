"""One change of the signing keys in the database, while it is under way."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy.orm import Session

from auth_server.jwk import PrivateKey, private_jwk, public_jwk
from auth_server.models import SigningKey
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys.encryption import KeyEncryption, KeysCannotBeOpenedError
from auth_server.signing_keys.life import KeyTimes
from auth_server.signing_keys.plan import Changes, NewKey, Rules

log = logging.getLogger(__name__)

ERASED: Final = ""

ReadyKey = tuple[SigningAlgorithm, PrivateKey]


class KeyExistsError(Exception):
    """The key is there already, or another process added one in the same moment."""


@dataclass(frozen=True)
class Change:
    """A change under way: the keys, which nobody else can change now, and the time."""

    session: Session
    rows: list[SigningKey]
    now: float
    rules: Rules
    encryption: KeyEncryption
    make_key: Callable[[SigningAlgorithm], PrivateKey]
    ready: list[ReadyKey]

    @property
    def times(self) -> list[KeyTimes]:
        """The keys as the functions of `life` and `plan` take them."""
        return times_of(self.rows)

    def row(self, kid: str) -> SigningKey:
        """Return the key ``kid``, which is there."""
        return next(row for row in self.rows if row.kid == kid)

    def apply(self, due: Changes) -> None:
        """Write what is ``due``."""
        for kid, active_from in due.activate:
            self.activate(self.row(kid), active_from)
        for kid in due.erase:
            self.row(kid).encrypted_private_jwk = ERASED
        for new in due.make:
            self.make(new)
        for row in self.rows:
            row.pending_seconds = max(row.pending_seconds, self.rules.pending_seconds)

    def make(self, new: NewKey) -> SigningKey:
        """Make a key with the times of ``new``, and so publish it."""
        for ready in self.ready:
            if ready[0] == new.algorithm:
                self.ready.remove(ready)
                return self.insert(new, ready[1])
        return self.insert(new, self.make_key(new.algorithm))

    def activate(self, row: SigningKey, active_from: int) -> None:
        """Let ``row`` sign from ``active_from``, which retires the one before it."""
        row.active_from = active_from
        log.info("the %s key %s signs from %d", row.algorithm, row.kid, active_from)

    def insert(self, new: NewKey, key: PrivateKey) -> SigningKey:
        """Store ``key`` with the times of ``new``; raise KeyExistsError where it is there.

        Raises KeysCannotBeOpenedError too, where the others are encrypted with something else: this
        one would be lost to the processes that can open those.
        """
        self._refuse_a_foreign_encryption()
        kid = key.thumbprint()
        if any(row.kid == kid for row in self.rows):
            raise KeyExistsError(f"the key {kid} is there already")
        generations = [row.generation for row in self.rows if row.algorithm == new.algorithm]
        private = json.dumps(private_jwk(key, new.algorithm)).encode()
        row = SigningKey(
            kid=kid,
            algorithm=new.algorithm,
            generation=max(generations, default=0) + 1,
            public_jwk=json.dumps(public_jwk(key, new.algorithm)),
            encrypted_private_jwk=self.encryption.encrypt(private),
            created_at=int(self.now),
            known_from=new.known_from,
            active_from=new.active_from,
            revoked_at=None,
            pending_seconds=self.rules.pending_seconds,
        )
        self.session.add(row)
        self.session.flush()
        self.rows.append(row)
        log.info("made the %s key %s", row.algorithm, row.kid)
        return row

    def _refuse_a_foreign_encryption(self) -> None:
        self.encryption.read()
        stored = [row.encrypted_private_jwk for row in self.rows]
        if any(self.encryption.rests_under(one) == "none" for one in stored if one != ERASED):
            raise KeysCannotBeOpenedError(self.encryption.does_not_open())


def times_of(rows: Iterable[SigningKey]) -> list[KeyTimes]:
    """Return what the functions of `life` and `plan` want to know of ``rows``."""
    return [
        KeyTimes(
            kid=row.kid,
            algorithm=cast(SigningAlgorithm, row.algorithm),
            generation=row.generation,
            created_at=row.created_at,
            known_from=row.known_from,
            active_from=row.active_from,
            revoked_at=row.revoked_at,
            pending_seconds=row.pending_seconds,
            is_erased=row.encrypted_private_jwk == ERASED,
        )
        for row in rows
    ]
