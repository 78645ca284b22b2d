"""The resources: the APIs that tokens are made for, and the scopes that they understand."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import delete, exists, func, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from auth_server.models import Client, ClientScope, Resource, ResourceScope
from auth_server.registry.errors import AlreadyRegisteredError, RegistryError
from auth_server.scope_policy import is_resource_identifier, is_scope_token
from shared.database import Database
from shared.identifiers import OPENID


class Resources:
    """Registers resources and lists them."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def add(self, uri: str, scopes: Iterable[str], *, is_default: bool) -> bool:
        """Register a resource; return False where it was there, with the same scopes.

        With ``is_default`` it becomes the default in place of any other.
        Raises AlreadyRegisteredError where it is there with other scopes.
        """
        names = list(dict.fromkeys(scopes))
        _refuse_bad_resource(uri, names)
        with self._database.writing() as session:
            is_new = session.get(Resource, uri) is None
            if is_new:
                session.add(Resource(uri=uri, is_default=False, created_at=int(self._now())))
                session.flush()
                session.add_all(
                    ResourceScope(resource=uri, scope=name, position=position)
                    for position, name in enumerate(names)
                )
            elif set(before := scopes_of(session, uri)) != set(names):
                raise AlreadyRegisteredError(
                    f"{uri} is registered already, with the scopes {' '.join(before)}"
                )
            if is_default:
                session.execute(update(Resource).values(is_default=False))
                session.execute(update(Resource).where(Resource.uri == uri).values(is_default=True))
        return is_new

    def add_scopes(self, uri: str, scopes: Iterable[str]) -> None:
        """Let a resource understand further scopes, after those that it has; twice is fine."""
        names = list(dict.fromkeys(scopes))
        _refuse_bad_resource(uri, names)
        with self._changing(uri) as session:
            before = scopes_of(session, uri)
            last = select(func.max(ResourceScope.position)).where(ResourceScope.resource == uri)
            position = (session.scalar(last) or 0) + 1
            session.add_all(
                ResourceScope(resource=uri, scope=name, position=place)
                for place, name in enumerate(
                    (name for name in names if name not in before), position
                )
            )

    def holders(self, uri: str, scopes: Iterable[str] | None = None) -> int:
        """Return how many clients have one of ``scopes``; None: any, or look into its tokens.

        Raises RegistryError where the resource, or a scope of it, is not registered.
        """
        with self._changing(uri) as session:
            held = select(ClientScope.client_id).where(ClientScope.resource == uri)
            if scopes is None:
                held_or_read = union(
                    held, select(Client.client_id).where(Client.introspects == uri)
                )
                clients = held_or_read.subquery()
            else:
                wanted = _known_scopes(session, uri, scopes)
                clients = held.where(ClientScope.scope.in_(wanted)).distinct().subquery()
            return session.scalar(select(func.count()).select_from(clients)) or 0

    def remove_scopes(self, uri: str, scopes: Iterable[str], *, from_clients: bool) -> None:
        """Remove scopes of a resource, but not its last.

        ``from_clients`` takes them from the clients that have them; without it RegistryError.
        """
        with self._changing(uri) as session:
            names = _known_scopes(session, uri, scopes)
            if names == set(scopes_of(session, uri)):
                raise RegistryError(f"{uri} has no other scope: remove the resource itself")
            if from_clients:
                _take_from_clients(session, uri, names)
            session.execute(
                delete(ResourceScope).where(
                    ResourceScope.resource == uri, ResourceScope.scope.in_(names)
                )
            )

    def remove(self, uri: str, *, from_clients: bool) -> None:
        """Remove a resource with its scopes.

        ``from_clients`` takes it from the clients that have it; without it RegistryError.
        """
        with self._changing(uri) as session:
            if from_clients:
                _take_from_clients(session, uri, set(scopes_of(session, uri)))
                session.execute(
                    update(Client).where(Client.introspects == uri).values(introspects=None)
                )
            session.execute(delete(ResourceScope).where(ResourceScope.resource == uri))
            session.execute(delete(Resource).where(Resource.uri == uri))

    @contextmanager
    def _changing(self, uri: str) -> Iterator[Session]:
        """Open a session with the row of the resource locked: two commands on one take turns."""
        try:
            with self._database.writing() as session:
                known = is_resource_identifier(uri)
                if not known or session.get(Resource, uri, with_for_update=True) is None:
                    raise RegistryError(f"no resource {uri!r} is registered: see `resources list`")
                yield session
        except IntegrityError as error:
            raise RegistryError(f"a client has it: take {uri} from the clients first") from error

    def all(self) -> list[tuple[Resource, list[str]]]:
        """Return the resources with their scopes, the oldest first."""
        with self._database.reading() as session:
            found = session.scalars(select(Resource).order_by(Resource.created_at, Resource.uri))
            return [(resource, scopes_of(session, resource.uri)) for resource in found]

    def all_scopes(self) -> list[str]:
        """Return every API scope once, in the order in which the resources have them."""
        with self._database.reading() as session:
            names = session.scalars(
                select(ResourceScope.scope)
                .join(Resource, Resource.uri == ResourceScope.resource)
                .order_by(Resource.created_at, Resource.uri, ResourceScope.position)
            ).all()
        return list(dict.fromkeys(names))


def default_resource(session: Session) -> str:
    """Return the default resource; raise RegistryError where there is none."""
    uri = session.scalar(select(Resource.uri).where(Resource.is_default))
    if uri is None:
        raise RegistryError(
            "no default resource is registered: `resources add URI --scope S --default` makes one"
        )
    return uri


def kept_resource(session: Session, uri: str) -> Resource:
    """Return a resource that no other command can remove meanwhile.

    Asked for before the row of a client is locked: whoever removes one takes them in this order,
    and two that wait for each other would wait for ever. Raises RegistryError where it is unknown.
    """
    found = None
    if is_resource_identifier(uri):
        found = session.get(Resource, uri, with_for_update={"read": True})
    if found is None:
        raise RegistryError(f"no resource {uri!r} is registered: see `resources list`")
    return found


def scopes_of(session: Session, uri: str) -> list[str]:
    """Return the scopes of a resource in its order."""
    return list(
        session.scalars(
            select(ResourceScope.scope)
            .where(ResourceScope.resource == uri)
            .order_by(ResourceScope.position)
        )
    )


def _known_scopes(session: Session, uri: str, scopes: Iterable[str]) -> set[str]:
    names, known = set(scopes), scopes_of(session, uri)
    if unknown := names - set(known):
        raise RegistryError(f"{uri} has no scope {min(unknown)!r}: it has {', '.join(known)}")
    return names


def _take_from_clients(session: Session, uri: str, scopes: set[str]) -> None:
    """Take scopes from every client; one that keeps none of the resource has it as no default."""
    of_resource = ClientScope.resource == uri
    session.execute(delete(ClientScope).where(of_resource, ClientScope.scope.in_(scopes)))
    keeps_one = exists().where(of_resource, ClientScope.client_id == Client.client_id)
    session.execute(
        update(Client)
        .where(Client.default_resource == uri, ~keeps_one)
        .values(default_resource=None)
        .execution_options(synchronize_session=False)
    )


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
