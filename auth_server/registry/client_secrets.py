"""The secrets of the clients: made here, stored as hashes, two live at a time (decision 5)."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, aliased

from auth_server.models import Client, ClientSecret
from auth_server.registry.errors import RegistryError, UnknownClientError
from auth_server.registry.registered_client import LiveSecret
from auth_server.registry.secret_text import new_secret, secret_hash
from auth_server.registry.third_secret import refuse_a_third
from shared.database import Database
from shared.identifiers import is_identifier


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Where a secret is to rest: an entry of the vault, and the version that will hold it."""

    entry: str
    version: int


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret just made: the only time that it can be seen."""

    secret_id: str
    client_id: str
    secret: str = field(repr=False)
    expires_at: int | None
    place: VaultPlace | None = None


class ClientSecrets:
    """Gives clients secrets, lists and ends them."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def add(self, client_id: str, *, expires_at: int | None = None) -> NewSecret:
        """Give a client one more secret, beside the one it uses, to be shown to a person.

        Raises RegistryError where two are live: a third would only be one more that can leak.
        """
        with self._database.writing() as session:
            locked_client_with_secrets(session, client_id)
            now = int(self._now())
            refuse_a_third(client_id, live_secrets(session, client_id, now))
            return insert_secret(session, client_id, expires_at, now=now)

    def all_of(self, client_id: str) -> list[ClientSecret]:
        """Return all the secrets that the client ever had, the oldest first."""
        with self._database.reading() as session:
            if not is_identifier(client_id) or session.get(Client, client_id) is None:
                raise UnknownClientError(client_id)
            return secrets_of(session, client_id)

    def find(self, secret: str) -> ClientSecret | None:
        """Return whose ``secret`` is, live or not; None where it never was any client's.

        For a secret that was found somewhere: it looks through all of them, without an index.
        """
        with self._database.reading() as session:
            return session.scalar(
                select(ClientSecret).where(ClientSecret.secret_hash == secret_hash(secret))
            )

    def ending_before(self, time: float) -> list[ClientSecret]:
        """Return the live secrets that end before ``time`` and leave their client with none.

        An old secret that a rotation gave its end is none of these: the new one goes on.
        """
        ending = (
            select(ClientSecret)
            .where(*_ends_soon(self._now(), time))
            .order_by(ClientSecret.expires_at, ClientSecret.secret_id)
        )
        with self._database.reading() as session:
            return list(session.scalars(ending))

    def ends_before(self, time: float) -> tuple[int, int | None]:
        """Return how many secrets `ending_before` has and when the first ends; it reads no row.

        For what is asked every few seconds, where a million clients may have such secrets.
        """
        numbers = select(func.count(ClientSecret.secret_id), func.min(ClientSecret.expires_at))
        with self._database.reading() as session:
            row = session.execute(numbers.where(*_ends_soon(self._now(), time))).one()
        return row[0], row[1]

    def revoke(self, client_id: str, secret_id: str) -> None:
        """End a secret of the client at once."""
        with self._database.writing() as session:
            locked_client(session, client_id)
            secret = session.get(ClientSecret, secret_id) if is_identifier(secret_id) else None
            if secret is None or secret.client_id != client_id:
                raise RegistryError(f"{client_id} has no secret {secret_id!r}: see `secrets list`")
            secret.revoked_at = secret.revoked_at or int(self._now())


def _ends_soon(now: float, time: float) -> list[ColumnElement[bool]]:
    """Return what holds for a secret, and its client, that ends before ``time`` with no other."""
    other = aliased(ClientSecret)
    lives_longer = select(other.secret_id).where(
        other.client_id == ClientSecret.client_id,
        other.revoked_at.is_(None),
        or_(other.expires_at.is_(None), other.expires_at >= time),
    )
    return [
        Client.client_id == ClientSecret.client_id,
        Client.disabled_at.is_(None),
        ClientSecret.expires_at > int(now),
        ClientSecret.expires_at < time,
        ClientSecret.revoked_at.is_(None),
        ~lives_longer.exists(),
    ]


def is_live(secret: ClientSecret | LiveSecret, now: float) -> bool:
    """Tell whether a secret authenticates its client at the time ``now``."""
    if isinstance(secret, ClientSecret) and secret.revoked_at is not None:
        return False
    return secret.expires_at is None or now < secret.expires_at


def state_of(secret: ClientSecret, now: float) -> str:
    """Return the state of a secret: live, undelivered (which is live too), expired, revoked."""
    if secret.revoked_at is not None:
        return "revoked"
    if not is_live(secret, now):
        return "expired"
    return "live" if secret.delivered_at is not None else "undelivered"


def insert_secret(
    session: Session,
    client_id: str,
    expires_at: int | None,
    *,
    now: int,
    place: VaultPlace | None = None,
) -> NewSecret:
    """Make a secret and add its row; the caller commits, and delivers it where it has a place."""
    made = NewSecret(secrets.token_hex(8), client_id, new_secret(), expires_at, place)
    session.add(
        ClientSecret(
            secret_id=made.secret_id,
            client_id=client_id,
            secret_hash=secret_hash(made.secret),
            created_at=now,
            expires_at=expires_at,
            delivered_at=None if place else now,
            vault_entry=place.entry if place else None,
            vault_version=place.version if place else None,
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


def locked_client_with_secrets(session: Session, client_id: str) -> None:
    """Lock the client's row; raise RegistryError where it proves who it is by a key."""
    client = locked_client(session, client_id)
    if client.jwks is not None or client.jwks_uri is not None:
        raise RegistryError(
            f"{client_id} authenticates with a key of its own and has no secret: "
            "`clients set-keys` changes its keys"
        )


def secrets_of(session: Session, client_id: str) -> list[ClientSecret]:
    """Return all the secrets of the client, the oldest first."""
    return list(
        session.scalars(
            select(ClientSecret)
            .where(ClientSecret.client_id == client_id)
            .order_by(ClientSecret.created_at, ClientSecret.secret_id)
        )
    )


def live_secrets(session: Session, client_id: str, now: float) -> list[ClientSecret]:
    """Return the secrets that authenticate the client at ``now``, undelivered ones too."""
    return [one for one in secrets_of(session, client_id) if is_live(one, now)]
