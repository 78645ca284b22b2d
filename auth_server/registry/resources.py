"""The resources: the APIs that tokens are made for, and the scopes that they understand."""

from collections.abc import Callable, Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from auth_server.models import Resource, ResourceScope
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


def scopes_of(session: Session, uri: str) -> list[str]:
    """Return the scopes of a resource in its order."""
    return list(
        session.scalars(
            select(ResourceScope.scope)
            .where(ResourceScope.resource == uri)
            .order_by(ResourceScope.position)
        )
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
