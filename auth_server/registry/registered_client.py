"""What a token request reads of a client, all in one query."""

from dataclasses import dataclass, field

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


def find_client(database: Database, client_id: str, now: float) -> RegisteredClient | None:
    """Return the client with the secrets live at ``now`` and its scopes, all in one read."""
    if not is_identifier(client_id):
        return None
    with database.reading() as session:
        rows = session.execute(_CLIENT, {"client_id": client_id, "now": int(now)}).all()
    if not rows:
        return None
    live = {
        LiveSecret(row.secret_hash, row.expires_at, row.secret_id, row.last_used_at): None
        for row in rows
        if row.secret_hash
    }
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
        secrets=tuple(live),
        jwks=first.jwks,
        jwks_uri=first.jwks_uri,
        access_token_lifetime_seconds=first.access_token_lifetime_seconds,
        introspects=first.introspects,
    )
