"""The secrets of the clients: made here, stored as hashes, two live at a time (decision 5)."""

import hashlib
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from auth_server.models import Client, ClientSecret
from auth_server.registry.errors import RegistryError, UnknownClientError
from auth_server.registry.registered_client import LiveSecret
from shared.database import Database
from shared.identifiers import is_identifier

SECRET_PREFIX = "ccs_"  # noqa: S105 - how secret scanners know ours; no secret
SECRET_BYTES = 32
LIVE_SECRETS_PER_CLIENT = 2


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret just made: the only time that it can be seen."""

    secret_id: str
    client_id: str
    secret: str = field(repr=False)
    expires_at: int | None


def new_secret() -> str:
    """Return a secret: a prefix, 256 random bits and a checksum, all of ``[A-Za-z0-9_-]``.

    Prefix and checksum let a secret scanner tell a leaked one from a random text (decision 5).
    """
    body = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return body + _checksum(body)


def secret_hash(secret: str) -> str:
    """Return what is stored of ``secret``.

    A plain SHA-256: a slow hash protects what people choose, and these are 256 random bits
    (RFC 6749 §10.10).
    """
    return hashlib.sha256(secret.encode()).hexdigest()


class ClientSecrets:
    """Gives clients secrets, lists and ends them."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def add(
        self, client_id: str, *, expires_at: int | None = None, delivered: bool = True
    ) -> NewSecret:
        """Give a client one more secret, beside the one it uses.

        A secret that never reached the vault ends here. Raises RegistryError where two are
        live: a third would only be one more that can leak.
        """
        with self._database.writing() as session:
            client = locked_client(session, client_id)
            if client.jwks is not None or client.jwks_uri is not None:
                raise RegistryError(
                    f"{client_id} authenticates with a key of its own and has no secret: "
                    "`clients set-keys` changes its keys"
                )
            now = int(self._now())
            session.execute(
                update(ClientSecret)
                .where(
                    ClientSecret.client_id == client_id,
                    ClientSecret.delivered_at.is_(None),
                    ClientSecret.revoked_at.is_(None),
                )
                .values(revoked_at=now)
            )
            live = [one for one in _secrets_of(session, client_id) if is_live(one, now)]
            if len(live) >= LIVE_SECRETS_PER_CLIENT:
                raise RegistryError(
                    f"{client_id} has {len(live)} live secrets, and no more can be live at a time: "
                    f"end one first with `secrets revoke {client_id} {live[0].secret_id}`"
                )
            return insert_secret(session, client_id, expires_at, delivered=delivered, now=now)

    def mark_delivered(self, secret_id: str) -> None:
        """Note that the vault holds the secret; raise RegistryError where it ended meanwhile."""
        with self._database.writing() as session:
            secret = session.get_one(ClientSecret, secret_id, with_for_update=True)
            if secret.revoked_at is not None:
                raise RegistryError(
                    f"the secret {secret_id} was ended by another command before the vault had it: "
                    "add a new one"
                )
            secret.delivered_at = int(self._now())

    def all_of(self, client_id: str) -> list[ClientSecret]:
        """Return all the secrets that the client ever had, the oldest first."""
        with self._database.reading() as session:
            if not is_identifier(client_id) or session.get(Client, client_id) is None:
                raise UnknownClientError(client_id)
            return _secrets_of(session, client_id)

    def revoke(self, client_id: str, secret_id: str) -> None:
        """End a secret of the client at once."""
        with self._database.writing() as session:
            locked_client(session, client_id)
            secret = session.get(ClientSecret, secret_id) if is_identifier(secret_id) else None
            if secret is None or secret.client_id != client_id:
                raise RegistryError(f"{client_id} has no secret {secret_id!r}: see `secrets list`")
            secret.revoked_at = secret.revoked_at or int(self._now())


def is_live(secret: ClientSecret | LiveSecret, now: float) -> bool:
    """Tell whether a secret authenticates its client at the time ``now``."""
    if isinstance(secret, ClientSecret) and secret.revoked_at is not None:
        return False
    return secret.expires_at is None or now < secret.expires_at


def insert_secret(
    session: Session, client_id: str, expires_at: int | None, *, delivered: bool, now: int
) -> NewSecret:
    """Make a secret and add its row; the caller commits."""
    made = NewSecret(secrets.token_hex(8), client_id, new_secret(), expires_at)
    session.add(
        ClientSecret(
            secret_id=made.secret_id,
            client_id=client_id,
            secret_hash=secret_hash(made.secret),
            created_at=now,
            expires_at=expires_at,
            delivered_at=now if delivered else None,
        )
    )
    return made


def locked_client(session: Session, client_id: str) -> Client:
    """Return the client's row, locked: two commands on one client take turns."""
    found = None
    if is_identifier(client_id):
        found = session.get(Client, client_id, with_for_update=True)
    if found is None:
        raise UnknownClientError(client_id)
    return found


def _secrets_of(session: Session, client_id: str) -> list[ClientSecret]:
    return list(
        session.scalars(
            select(ClientSecret)
            .where(ClientSecret.client_id == client_id)
            .order_by(ClientSecret.created_at, ClientSecret.secret_id)
        )
    )


def _checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` in base 62: 6 characters, as 62**6 is more than 2**32."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    rest = zlib.crc32(text.encode())
    characters = ""
    for _ in range(6):
        rest, digit = divmod(rest, len(digits))
        characters = digits[digit] + characters
    return characters
