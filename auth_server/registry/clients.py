"""The clients: which machines may ask for tokens, and what each may have."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from auth_server.client_jwks import ClientJwks
from auth_server.models import Client, ClientScope, ClientSecret
from auth_server.registry.client_secrets import (
    NewSecret,
    VaultPlace,
    insert_secret,
    locked_client,
)
from auth_server.registry.errors import AlreadyRegisteredError, RegistryError, UnknownClientError
from auth_server.registry.registered_client import RegisteredClient, find_client
from auth_server.registry.resources import default_resource, kept_resource, scopes_of
from shared.database import Database
from shared.identifiers import is_identifier

PAGE_SIZE = 500


class Clients:
    """Registers clients, lists them, and changes what each may have."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def add(
        self,
        client_id: str,
        *,
        resources: Iterable[str] = (),
        scopes: Iterable[str] | None = None,
        authentication_method: str,
        may_have_id_token: bool,
        access_token_lifetime_seconds: int | None = None,
        introspects: str | None = None,
        expires_at: int | None = None,
        place: VaultPlace | None = None,
    ) -> NewSecret:
        """Register a client with a first secret.

        ``resources`` are those its scopes are of, its default one first; none: the default
        resource. ``scopes`` None: all the scopes of these resources.
        ``access_token_lifetime_seconds`` None: as the settings have it.
        ``introspects``: the resource whose tokens it may look into, as a resource server.
        ``place``: where in the vault the secret is yet to be put; None: it is shown to a person.
        """
        client = Client(
            client_id=client_id,
            authentication_method=authentication_method,
            may_have_id_token=may_have_id_token,
            access_token_lifetime_seconds=access_token_lifetime_seconds,
            introspects=introspects,
        )
        with self._inserting(client, list(resources), scopes) as session:
            return insert_secret(session, client_id, expires_at, now=int(self._now()), place=place)

    def refuse_taken(self, client_id: str) -> None:
        """Raise RegistryError where no client can be registered by this name."""
        with self._database.reading() as session:
            _refuse_taken(session, client_id)

    def add_with_keys(
        self,
        client_id: str,
        keys: ClientJwks,
        *,
        resources: Iterable[str] = (),
        scopes: Iterable[str] | None = None,
        authentication_method: str,
        may_have_id_token: bool,
        access_token_lifetime_seconds: int | None = None,
        introspects: str | None = None,
    ) -> None:
        """Register a client that signs: with its public keys, and without any secret."""
        client = Client(
            client_id=client_id,
            authentication_method=authentication_method,
            may_have_id_token=may_have_id_token,
            access_token_lifetime_seconds=access_token_lifetime_seconds,
            introspects=introspects,
            jwks=keys.jwks,
            jwks_uri=keys.jwks_uri,
        )
        with self._inserting(client, list(resources), scopes):
            pass

    def set_keys(self, client_id: str, keys: ClientJwks) -> None:
        """Put ``keys`` in the place of those that the client had.

        Raises RegistryError where it is a client with secrets: it would have two ways to
        authenticate.
        """
        with self._database.writing() as session:
            client = locked_client(session, client_id)
            if client.jwks is None and client.jwks_uri is None:
                raise RegistryError(
                    f"{client_id} authenticates with a secret: keys are for clients that were "
                    "added with them"
                )
            client.jwks, client.jwks_uri = keys.jwks, keys.jwks_uri

    @contextmanager
    def _inserting(
        self, client: Client, resources: list[str], scopes: Iterable[str] | None
    ) -> Iterator[Session]:
        """Add ``client`` and its scopes; within, what else belongs to it is added."""
        client_id = client.client_id
        try:
            with self._database.writing() as session:
                _refuse_taken(session, client_id)
                if client.introspects is not None:
                    kept_resource(session, client.introspects)
                wanted = None if scopes is None else set(scopes)
                granted = _client_scopes(session, client_id, resources, wanted)
                client.default_resource = granted[0].resource if granted else None
                client.created_at = int(self._now())
                session.add(client)
                session.flush()
                session.add_all(granted)
                yield session
        except IntegrityError as error:  # another process was faster
            raise AlreadyRegisteredError(f"the client {client_id} is registered already") from error

    def grant(
        self,
        client_id: str,
        *,
        resource: str | None = None,
        scopes: Iterable[str] | None = None,
        is_default: bool = False,
    ) -> None:
        """Let a client have scopes of a resource besides what it has; twice is fine.

        ``resource`` None: the default one. ``scopes`` None: all of its. With ``is_default``, or
        where the client had no default, it becomes the client's default resource.
        """
        with self._database.writing() as session:
            uris = [] if resource is None else [resource]
            granted = _client_scopes(
                session, client_id, uris, None if scopes is None else {*scopes}
            )
            client = locked_client(session, client_id)
            for row in granted:
                session.merge(row)
            if granted and (is_default or client.default_resource is None):
                client.default_resource = granted[0].resource

    def each(self, after: str = "", limit: int | None = None) -> Iterator[Client]:
        """Return the clients by name, those after the name ``after``, at most ``limit``.

        They are read a page at a time, so that a million of them need no more memory than one page.
        """
        while limit is None or limit > 0:
            size = PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)
            page = select(Client).where(Client.client_id > after).order_by(Client.client_id)
            with self._database.reading() as session:
                found = session.scalars(page.limit(size)).all()
            yield from found
            if len(found) < size:
                return
            after = found[-1].client_id
            limit = None if limit is None else limit - size

    def get(self, client_id: str) -> RegisteredClient:
        """Return the client; raise RegistryError where there is none."""
        found = find_client(self._database, client_id, self._now())
        if found is None:
            raise UnknownClientError(client_id)
        return found

    def disable(self, client_id: str) -> None:
        """Let the client have no more tokens; those it has stay valid until they expire."""
        with self._database.writing() as session:
            client = locked_client(session, client_id)
            client.disabled_at = client.disabled_at or int(self._now())

    def enable(self, client_id: str) -> None:
        """Let a client that was disabled have tokens again."""
        with self._database.writing() as session:
            locked_client(session, client_id).disabled_at = None

    def remove(self, client_id: str) -> None:
        """Remove a client, its secrets and its scopes for good; its name is free again."""
        with self._database.writing() as session:
            client = locked_client(session, client_id)
            for of_client in (ClientSecret, ClientScope):
                session.execute(delete(of_client).where(of_client.client_id == client_id))
            session.delete(client)


def _refuse_taken(session: Session, client_id: str) -> None:
    if not is_identifier(client_id):
        raise RegistryError(
            "a client's name is 1 to 128 letters, digits, '-' and '_', so that it can be taken "
            "neither for a URL nor for a person (RFC 9700 §4.15)"
        )
    if session.get(Client, client_id) is not None:
        raise AlreadyRegisteredError(f"the client {client_id} is registered already")


def _client_scopes(
    session: Session, client_id: str, resources: list[str], wanted: set[str] | None
) -> list[ClientScope]:
    """Return the rows of a new client's scopes, those of its default resource first."""
    if wanted is not None and not wanted:
        return []
    uris = resources or [default_resource(session)]
    offered = []
    for uri in dict.fromkeys(uris):
        kept_resource(session, uri)
        offered += [(uri, scope) for scope in scopes_of(session, uri)]
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
