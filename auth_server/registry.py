"""The register: clients, their secrets and scopes, and the resources that tokens are made for.

`find_client` is what a token request reads; everything else is for the command line.
"""

import hashlib
import secrets
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from auth_server.models import Client, ClientScope, ClientSecret, Resource, ResourceScope
from auth_server.scope_policy import ClientRights, is_resource_identifier, is_scope_token
from shared.database import Database
from shared.identifiers import OPENID, is_identifier

SECRET_PREFIX = "ccs_"  # noqa: S105 - how secret scanners know ours; no secret
SECRET_BYTES = 32
LIVE_SECRETS_PER_CLIENT = 2


class RegistryError(Exception):
    """What was asked of the register cannot be done; the text says why and what to do."""


class AlreadyRegisteredError(RegistryError):
    """The name is taken."""


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """A secret that is not revoked: its SHA-256 in hexadecimal, and its end, if it has one."""

    secret_hash: str = field(repr=False)
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """What a token request needs to know of a client; Authlib's grant asks it for its right."""

    client_id: str
    authentication_method: str
    is_disabled: bool
    rights: ClientRights
    secrets: tuple[LiveSecret, ...] = field(repr=False)

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell whether the client may use this server's one grant.

        A token needs an audience, and an audience needs a scope that means something to it
        (RFC 9068 §2.2.3): a client without any API scope may have no token at all.
        """
        return grant_type == "client_credentials" and bool(self.rights.scopes)


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


_CLIENT = (
    select(
        Client.client_id,
        Client.authentication_method,
        Client.may_have_id_token,
        Client.disabled_at,
        Client.default_resource,
        ClientSecret.secret_hash,
        ClientSecret.expires_at,
        ResourceScope.resource,
        ResourceScope.scope,
    )
    .outerjoin(
        ClientSecret,
        and_(ClientSecret.client_id == Client.client_id, ClientSecret.revoked_at.is_(None)),
    )
    .outerjoin(ClientScope, ClientScope.client_id == Client.client_id)
    .outerjoin(
        ResourceScope,
        and_(
            ResourceScope.resource == ClientScope.resource,
            ResourceScope.scope == ClientScope.scope,
        ),
    )
    .where(Client.client_id == bindparam("client_id"))
    .order_by(ResourceScope.resource, ResourceScope.position)
)


class Registry:
    """The register in the database. ``now`` is the clock, in seconds since 1970."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def find_client(self, client_id: str) -> RegisteredClient | None:
        """Return the client with its live secrets and its scopes, all in one read."""
        if not is_identifier(client_id):
            return None
        with self._database.reading() as session:
            rows = session.execute(_CLIENT, {"client_id": client_id}).all()
        if not rows:
            return None
        live = {row.secret_hash: row.expires_at for row in rows if row.secret_hash}
        scopes: dict[str, dict[str, None]] = {}
        for row in rows:
            if row.scope is not None:
                scopes.setdefault(row.resource, {})[row.scope] = None
        first = rows[0]
        return RegisteredClient(
            client_id=first.client_id,
            authentication_method=first.authentication_method,
            is_disabled=first.disabled_at is not None,
            rights=ClientRights(
                scopes={resource: tuple(names) for resource, names in scopes.items()},
                default_resource=first.default_resource,
                may_have_id_token=first.may_have_id_token,
            ),
            secrets=tuple(LiveSecret(*secret) for secret in live.items()),
        )

    def scopes_of_all_resources(self) -> list[str]:
        """Return every API scope once, in the order in which the resources have them."""
        with self._database.reading() as session:
            names = session.scalars(
                select(ResourceScope.scope)
                .join(Resource, Resource.uri == ResourceScope.resource)
                .order_by(Resource.created_at, Resource.uri, ResourceScope.position)
            ).all()
        return list(dict.fromkeys(names))

    def add_resource(self, uri: str, scopes: Iterable[str], *, is_default: bool) -> bool:
        """Register a resource; return False where it was there, with the same scopes.

        With ``is_default`` it becomes the default in place of any other.
        Raises AlreadyRegisteredError where it is there with other scopes.
        """
        names = list(dict.fromkeys(scopes))
        _refuse_bad_resource(uri, names)
        with self._database.writing() as session:
            is_new = session.get(Resource, uri) is None
            if is_new:
                session.add(Resource(uri=uri, is_default=False, created_at=self._seconds()))
                session.flush()
                session.add_all(
                    ResourceScope(resource=uri, scope=name, position=position)
                    for position, name in enumerate(names)
                )
            elif set(before := _scopes_of(session, uri)) != set(names):
                raise AlreadyRegisteredError(
                    f"{uri} is registered already, with the scopes {' '.join(before)}"
                )
            if is_default:
                session.execute(update(Resource).values(is_default=False))
                session.execute(update(Resource).where(Resource.uri == uri).values(is_default=True))
        return is_new

    def resources(self) -> list[tuple[Resource, list[str]]]:
        """Return the resources with their scopes, the oldest first."""
        with self._database.reading() as session:
            found = session.scalars(select(Resource).order_by(Resource.created_at, Resource.uri))
            return [(resource, _scopes_of(session, resource.uri)) for resource in found]

    def add_client(
        self,
        client_id: str,
        *,
        resources: Iterable[str] = (),
        scopes: Iterable[str] | None = None,
        authentication_method: str,
        may_have_id_token: bool,
        expires_at: int | None = None,
        delivered: bool = True,
    ) -> NewSecret:
        """Register a client with a first secret.

        ``resources`` are those its scopes are of, its default one first; none: the default
        resource. ``scopes`` None: all the scopes of these resources.
        ``delivered`` False: the secret is yet to be put into the vault.
        """
        if not is_identifier(client_id):
            raise RegistryError(
                "a client's name is 1 to 128 letters, digits, '-' and '_', so that it can be taken "
                "neither for a URL nor for a person (RFC 9700 §4.15)"
            )
        try:
            with self._database.writing() as session:
                if session.get(Client, client_id) is not None:
                    raise AlreadyRegisteredError(f"the client {client_id} is registered already")
                wanted = None if scopes is None else set(scopes)
                granted = _client_scopes(session, client_id, list(resources), wanted)
                client = Client(
                    client_id=client_id,
                    authentication_method=authentication_method,
                    may_have_id_token=may_have_id_token,
                    default_resource=granted[0].resource if granted else None,
                    created_at=self._seconds(),
                )
                session.add(client)
                session.flush()
                session.add_all(granted)
                return self._add_secret(session, client_id, expires_at, delivered)
        except IntegrityError as error:  # another process was faster
            raise AlreadyRegisteredError(f"the client {client_id} is registered already") from error

    def grant_scopes(
        self,
        client_id: str,
        *,
        resource: str | None = None,
        scopes: Iterable[str] | None = None,
        is_default: bool = False,
    ) -> None:
        """Let a client have scopes of a resource besides what it has; twice is fine.

        ``resource`` None: the default one. ``scopes`` None: all of its. With ``is_default``, or
        where the client had no scope yet, it becomes the client's default resource.
        """
        with self._database.writing() as session:
            client = _locked_client(session, client_id)
            uris = [] if resource is None else [resource]
            granted = _client_scopes(
                session, client_id, uris, None if scopes is None else {*scopes}
            )
            for row in granted:
                session.merge(row)
            if granted and (is_default or client.default_resource is None):
                client.default_resource = granted[0].resource

    def clients(self) -> list[Client]:
        """Return the clients by name."""
        with self._database.reading() as session:
            return list(session.scalars(select(Client).order_by(Client.client_id)))

    def client(self, client_id: str) -> RegisteredClient:
        """Return the client; raise RegistryError where there is none."""
        found = self.find_client(client_id)
        if found is None:
            raise _unknown_client(client_id)
        return found

    def disable_client(self, client_id: str) -> None:
        """Let the client have no more tokens; those it has stay valid until they expire."""
        with self._database.writing() as session:
            client = _locked_client(session, client_id)
            client.disabled_at = client.disabled_at or self._seconds()

    def add_secret(
        self, client_id: str, *, expires_at: int | None = None, delivered: bool = True
    ) -> NewSecret:
        """Give a client one more secret, beside the one it uses.

        A secret that never reached the vault ends here. Raises RegistryError where two are
        live: a third would only be one more that can leak.
        """
        with self._database.writing() as session:
            _locked_client(session, client_id)
            now = self._seconds()
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
            return self._add_secret(session, client_id, expires_at, delivered)

    def mark_delivered(self, secret_id: str) -> None:
        """Note that the vault holds the secret; raise RegistryError where it ended meanwhile."""
        with self._database.writing() as session:
            secret = session.get_one(ClientSecret, secret_id, with_for_update=True)
            if secret.revoked_at is not None:
                raise RegistryError(
                    f"the secret {secret_id} was ended by another command before the vault had it: "
                    "add a new one"
                )
            secret.delivered_at = self._seconds()

    def secrets(self, client_id: str) -> list[ClientSecret]:
        """Return all the secrets that the client ever had, the oldest first."""
        self.client(client_id)
        with self._database.reading() as session:
            return _secrets_of(session, client_id)

    def revoke_secret(self, client_id: str, secret_id: str) -> None:
        """End a secret of the client at once."""
        with self._database.writing() as session:
            _locked_client(session, client_id)
            secret = session.get(ClientSecret, secret_id) if is_identifier(secret_id) else None
            if secret is None or secret.client_id != client_id:
                raise RegistryError(f"{client_id} has no secret {secret_id!r}: see `secrets list`")
            secret.revoked_at = secret.revoked_at or self._seconds()

    def _add_secret(
        self, session: Session, client_id: str, expires_at: int | None, delivered: bool
    ) -> NewSecret:
        made = NewSecret(secrets.token_hex(8), client_id, new_secret(), expires_at)
        now = self._seconds()
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

    def _seconds(self) -> int:
        return int(self._now())


def is_live(secret: ClientSecret | LiveSecret, now: float) -> bool:
    """Tell whether a secret authenticates its client at the time ``now``."""
    if isinstance(secret, ClientSecret) and secret.revoked_at is not None:
        return False
    return secret.expires_at is None or now < secret.expires_at


def _checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` in base 62: 6 characters, as 62**6 is more than 2**32."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    rest = zlib.crc32(text.encode())
    characters = ""
    for _ in range(6):
        rest, digit = divmod(rest, len(digits))
        characters = digits[digit] + characters
    return characters


def _refuse_bad_resource(uri: str, scopes: list[str]) -> None:
    if not is_resource_identifier(uri):
        raise RegistryError(
            f"{uri!r} is no absolute URI without fragment (RFC 8707 §2) of at most 512 characters"
        )
    if not scopes:
        raise RegistryError("a resource has at least one scope: name it with --scope")
    for scope in scopes:
        if not is_scope_token(scope):
            raise RegistryError(f"{scope!r} is no scope (RFC 6749 §3.3) of at most 128 characters")
        if scope == OPENID:
            raise RegistryError("openid is no API's scope: it asks this server for an id_token")


def _client_scopes(
    session: Session, client_id: str, resources: list[str], wanted: set[str] | None
) -> list[ClientScope]:
    """Return the rows of a new client's scopes, those of its default resource first."""
    if wanted is not None and not wanted:
        return []
    uris = resources or [_default_resource(session)]
    offered = []
    for uri in dict.fromkeys(uris):
        if session.get(Resource, uri) is None:
            raise RegistryError(f"no resource {uri!r} is registered: see `resources list`")
        offered += [(uri, scope) for scope in _scopes_of(session, uri)]
    unknown = (wanted or set()) - {scope for _, scope in offered}
    if unknown:
        raise RegistryError(
            f"{', '.join(uris)} has no scope {sorted(unknown)[0]!r}: it has "
            f"{', '.join(dict.fromkeys(scope for _, scope in offered))}"
        )
    return [
        ClientScope(client_id=client_id, resource=uri, scope=scope)
        for uri, scope in offered
        if wanted is None or scope in wanted
    ]


def _default_resource(session: Session) -> str:
    uri = session.scalar(select(Resource.uri).where(Resource.is_default))
    if uri is None:
        raise RegistryError(
            "no default resource is registered: `resources add URI --scope S --default` makes one"
        )
    return uri


def _scopes_of(session: Session, uri: str) -> list[str]:
    return list(
        session.scalars(
            select(ResourceScope.scope)
            .where(ResourceScope.resource == uri)
            .order_by(ResourceScope.position)
        )
    )


def _secrets_of(session: Session, client_id: str) -> list[ClientSecret]:
    return list(
        session.scalars(
            select(ClientSecret)
            .where(ClientSecret.client_id == client_id)
            .order_by(ClientSecret.created_at, ClientSecret.secret_id)
        )
    )


def _locked_client(session: Session, client_id: str) -> Client:
    """Return the client's row, locked: two commands on one client take turns."""
    found = None
    if is_identifier(client_id):
        found = session.get(Client, client_id, with_for_update=True)
    if found is None:
        raise _unknown_client(client_id)
    return found


def _unknown_client(client_id: str) -> RegistryError:
    return RegistryError(f"no client {client_id!r} is registered: see `clients list`")
