"""What a client may have: further scopes, fewer, and the limits of its tokens."""

from collections.abc import Iterable
from typing import Final, Literal

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from auth_server.models import ClientScope
from auth_server.registry.client_secrets import locked_client
from auth_server.registry.errors import RegistryError
from auth_server.registry.resources import default_resource, kept_resource
from shared.database import Database

DEFAULT: Final = "default"


class ClientLimits:
    """Changes the limits of clients; a token that was issued before keeps what it has."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(
        self,
        client_id: str,
        *,
        lifetime_seconds: int | Literal["default"] | None = None,
        may_have_id_token: bool | None = None,
        default_resource: str | None = None,
    ) -> None:
        """Change what is given, and nothing else.

        ``lifetime_seconds`` is that of its access tokens, `default` what the settings say.
        ``default_resource`` has to be one that the client has scopes of.
        """
        with self._database.writing() as session:
            if default_resource is not None:
                kept_resource(session, default_resource)
            client = locked_client(session, client_id)
            if lifetime_seconds is not None:
                lifetime = None if lifetime_seconds == DEFAULT else lifetime_seconds
                client.access_token_lifetime_seconds = lifetime
            if may_have_id_token is not None:
                client.may_have_id_token = may_have_id_token
            if default_resource is not None:
                if not has_scopes(session, client_id, default_resource):
                    raise RegistryError(
                        f"{client_id} has no scope of {default_resource!r}: grant one first"
                    )
                client.default_resource = default_resource

    def ungrant(
        self, client_id: str, *, resource: str | None = None, scopes: Iterable[str] | None = None
    ) -> None:
        """Take scopes of a resource from a client.

        ``resource`` None: the default one. ``scopes`` None: all of its. A client that has none left
        of its default resource has no default any more: its tokens would otherwise be for another
        API than before, without anybody's word. Raises RegistryError where it lacks a scope.
        """
        with self._database.writing() as session:
            client = locked_client(session, client_id)
            uri = resource or default_resource(session)
            of_resource = (ClientScope.client_id == client_id, ClientScope.resource == uri)
            held = set(session.scalars(select(ClientScope.scope).where(*of_resource)))
            taken = held if scopes is None else set(scopes)
            if not taken or not taken <= held:
                missing = ", ".join(sorted(taken - held)) or "any"
                raise RegistryError(
                    f"{client_id} does not have {missing} of {uri}: see `clients show {client_id}`"
                )
            session.execute(delete(ClientScope).where(*of_resource, ClientScope.scope.in_(taken)))
            if client.default_resource == uri and taken == held:
                client.default_resource = None


def has_scopes(session: Session, client_id: str, uri: str) -> bool:
    """Tell whether a client has any scope of a resource."""
    held = exists().where(ClientScope.client_id == client_id, ClientScope.resource == uri)
    return bool(session.scalar(select(held)))
