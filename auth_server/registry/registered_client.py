"""What a token request reads of a client, all in one query."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, bindparam, or_, select

from auth_server.models import Client, ClientScope, ClientSecret, ResourceScope
from auth_server.scope_policy import ClientRights
from shared.database import Database
from shared.identifiers import is_identifier


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """A secret that is not revoked: its SHA-256 in hexadecimal, and its end, if it has one.

    ``last_used_at`` is what was noted when it was read.
    """

    secret_hash: str = field(repr=False)
    expires_at: int | None
    secret_id: str = ""
    last_used_at: int | None = None


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """What a token request needs to know of a client; Authlib's grant asks it for its right."""

    client_id: str
    authentication_method: str
    is_disabled: bool
    rights: ClientRights
    secrets: tuple[LiveSecret, ...] = field(repr=False)
    jwks: str | None = field(default=None, repr=False)
    jwks_uri: str | None = None
    access_token_lifetime_seconds: int | None = None
    introspects: str | None = None
    """The resource whose tokens it may look into; None: it is no resource server."""

    @property
    def may_have_a_token(self) -> bool:
        """Whether there is anything that it can be granted."""
        return not self.is_disabled and bool(self.rights.scopes)

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell whether the client may use this server's one grant.

        A token needs an audience, and an audience needs a scope that means something to it
        (RFC 9068 §2.2.3): a client without any API scope may have no token at all.
        """
        return grant_type == "client_credentials" and bool(self.rights.scopes)


_CLIENT = (
    select(
        Client.client_id,
        Client.authentication_method,
        Client.may_have_id_token,
        Client.disabled_at,
        Client.default_resource,
        Client.jwks,
        Client.jwks_uri,
        Client.access_token_lifetime_seconds,
        Client.introspects,
        ClientSecret.secret_hash,
        ClientSecret.expires_at,
        ClientSecret.secret_id,
        ClientSecret.last_used_at,
        ResourceScope.resource,
        ResourceScope.scope,
    )
    .outerjoin(
        ClientSecret,
        and_(
            ClientSecret.client_id == Client.client_id,
            ClientSecret.revoked_at.is_(None),
            or_(ClientSecret.expires_at.is_(None), ClientSecret.expires_at > bindparam("now")),
        ),
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
_OF_CLIENT = 9
"""So many columns are of the client itself, and the same in all its rows."""


def find_client(database: Database, client_id: str, now: float) -> RegisteredClient | None:
    """Return the client with the secrets live at ``now`` and its scopes, all in one read."""
    if not is_identifier(client_id):
        return None
    rows = database.at_once(_CLIENT, {"client_id": client_id, "now": int(now)})
    if not rows:
        return None
    live: dict[LiveSecret, None] = {}
    scopes: dict[str, dict[str, None]] = {}
    for row in rows:
        secret_hash, expires_at, secret_id, last_used_at, resource, scope = row[_OF_CLIENT:]
        if secret_hash is not None:
            live[LiveSecret(secret_hash, expires_at, secret_id, last_used_at)] = None
        if scope is not None:
            scopes.setdefault(resource, {})[scope] = None
    return _client(rows[0][:_OF_CLIENT], tuple(live), scopes)


def _client(
    columns: Sequence[Any], secrets: tuple[LiveSecret, ...], scopes: Mapping[str, Iterable[str]]
) -> RegisteredClient:
    """Return the client with the first columns of the query."""
    (
        client_id,
        authentication_method,
        may_have_id_token,
        disabled_at,
        default_resource,
        jwks,
        jwks_uri,
        access_token_lifetime_seconds,
        introspects,
    ) = columns
    return RegisteredClient(
        client_id=client_id,
        authentication_method=authentication_method,
        is_disabled=disabled_at is not None,
        rights=ClientRights(
            scopes={resource: tuple(names) for resource, names in scopes.items()},
            default_resource=default_resource,
            may_have_id_token=bool(may_have_id_token),
        ),
        secrets=secrets,
        jwks=jwks,
        jwks_uri=jwks_uri,
        access_token_lifetime_seconds=access_token_lifetime_seconds,
        introspects=introspects,
    )
