"""New secrets on their way into the vault, in an order that survives a crash (decision 5).

First the hash is stored, with the version of the entry that is to hold the secret: it is valid
from here on. Then the vault is written with check-and-set, the secret is marked as delivered, and
the old one gets its end. So whoever reads the vault finds a secret that authenticates, at every
moment. What a crash cut off, the next command finishes: either the vault is at the version that
was to hold the secret, or nobody can know that secret.
"""

import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from auth_server.models import ClientSecret
from auth_server.registry.client_secrets import (
    NewSecret,
    VaultPlace,
    insert_secret,
    live_secrets,
    locked_client,
    locked_client_with_secrets,
)
from auth_server.registry.errors import RegistryError
from auth_server.registry.rotation import AlreadyRotatedError, Delivered, Order, already_rotated
from auth_server.registry.third_secret import refuse_a_third
from shared.database import Database
from shared.identifiers import VAULT_CLIENT_ID, VAULT_CLIENT_SECRET
from shared.vault import EntryVersion, Vault, VaultConflictError


class SecretDelivery:
    """Makes secrets and puts them into the vault, for one command on a client at a time.

    The client's lock (on SQLite, that of all writers) is held while the vault is asked and written:
    what another command ended must not get there. ``pause`` waits for seconds, ``say`` tells a
    person what for.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        now: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database, self._vault = database, vault
        self._now, self._pause, self._say = now, pause, say

    def fulfil(self, order: Order) -> Delivered:
        """Put a new secret into the vault, and give the old one its end.

        Where the same command was cut off when the vault had its secret, that is finished
        instead. Raises AlreadyRotatedError where the old one has its end already, RegistryError
        where two secrets are live otherwise, VaultError as `deliver` does.
        """
        begun = self._begin(order)
        while isinstance(begun, float):
            self._say(
                f"a command on {order.client_id} was cut off a moment ago: waiting {begun:.0f} s, "
                "as its secret may still reach the vault"
            )
            self._pause(begun)
            begun = self._begin(order)
        if isinstance(begun, AlreadyRotatedError):
            raise begun
        return self.deliver(begun, order.overlap) if isinstance(begun, NewSecret) else begun

    def place(self, entry: str) -> VaultPlace:
        """Return where the next secret in ``entry`` will rest."""
        return VaultPlace(entry, self._vault.version(entry).number + 1)

    def deliver(self, made: NewSecret, overlap: int | None = None) -> Delivered:
        """Put a secret whose hash is stored into the vault, and give the old one its end.

        Raises VaultError where it did not get there, or nobody can tell: to run the command again
        mends both. RegistryError where another command ended it meanwhile.
        """
        with self._database.writing() as session:
            locked_client(session, made.client_id)
            new = session.get_one(ClientSecret, made.secret_id)
            if new.revoked_at is not None:
                raise RegistryError(
                    f"the secret {made.secret_id} was ended by another command before the vault "
                    "had it: see `secrets list`"
                )
            conflict = self._write(made)
            if conflict is None:
                new.delivered_at = int(self._now())
                delivered = self._beside_the_old(session, new, overlap)
            else:
                new.revoked_at = int(self._now())  # the vault has something else in its place
        if conflict is not None:
            raise conflict
        return delivered

    def _begin(self, order: Order) -> NewSecret | Delivered | AlreadyRotatedError | float:
        """Store a new secret; or return what was cut off and is finished now, or was done already.

        Or return for how many seconds nobody can tell what became of it.
        """
        with self._database.writing() as session:
            locked_client_with_secrets(session, order.client_id)
            now, version = int(self._now()), self._vault.version(order.entry)
            cut_off = _undelivered(session, order.client_id, now)
            wait = max((self._settle(secret, now) for secret in cut_off), default=0.0)
            if wait > 0:
                return wait
            finished = self._finished(session, cut_off, order)
            if finished is not None:
                return finished
            live = live_secrets(session, order.client_id, now)
            already = already_rotated(live, order, version)
            if already is not None:
                return already
            refuse_a_third(order.client_id, live)
            place = VaultPlace(order.entry, version.number + 1)
            return insert_secret(session, order.client_id, order.expires_at, now=now, place=place)

    def _settle(self, secret: ClientSecret, now: int) -> float:
        """Mark a secret that was cut off as delivered where the vault has it; else end it.

        Returns for how many seconds its write may still arrive: until then it is left alone.
        """
        entry, version = secret.vault_entry, secret.vault_version
        if entry is not None and version is not None:
            if self._vault.version(entry) == EntryVersion(version, is_readable=True):
                secret.delivered_at = now
                return 0.0
            late = secret.created_at + self._vault.late_write_seconds - now
            if late > 0:
                return late
        secret.revoked_at = now
        return 0.0

    def _finished(
        self, session: Session, cut_off: list[ClientSecret], order: Order
    ) -> Delivered | None:
        """Return what ``order`` had done already, if it is the command that was cut off.

        A rotation did nothing yet where the secret that arrived is the client's only one: that
        was a first secret.
        """
        for secret in cut_off:
            if secret.delivered_at is not None and secret.vault_entry == order.entry:
                delivered = self._beside_the_old(session, secret, order.overlap)
                if delivered.old is not None or order.overlap is None:
                    return delivered
        return None

    def _beside_the_old(
        self, session: Session, new: ClientSecret, overlap: int | None
    ) -> Delivered:
        """Give the secret beside ``new`` its end, never a later one than it had."""
        now = int(self._now())
        live = live_secrets(session, new.client_id, now)
        old = next((one for one in live if one.secret_id != new.secret_id), None)
        if old is not None and overlap is not None:
            old.expires_at = min(now + overlap, old.expires_at or now + overlap)
        return Delivered(new, old)

    def _write(self, made: NewSecret) -> VaultConflictError | None:
        assert made.place is not None, "it was stored with its place"
        fields = {VAULT_CLIENT_ID: made.client_id, VAULT_CLIENT_SECRET: made.secret}
        try:
            self._vault.write(made.place.entry, fields, expected_version=made.place.version - 1)
        except VaultConflictError as error:
            return error
        return None


def _undelivered(session: Session, client_id: str, now: float) -> list[ClientSecret]:
    return [one for one in live_secrets(session, client_id, now) if one.delivered_at is None]
