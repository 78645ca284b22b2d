"""The names that two services must spell alike: scopes, paths, ports, vault fields."""

import re
from typing import Final

OPENID: Final = "openid"
SCOPE_READ: Final = "Read"
SCOPE_WRITE: Final = "Write"

TOKEN_PATH: Final = "/oidc/token"  # noqa: S105 - a path, no password
INTROSPECTION_PATH: Final = "/oidc/introspect"
REVOCATION_PATH: Final = "/oidc/revoke"
JWKS_PATH: Final = "/oidc/jwks"
OPENID_CONFIGURATION_PATH: Final = "/.well-known/openid-configuration"
OAUTH_METADATA_PATH: Final = "/.well-known/oauth-authorization-server"
ACCOUNT_PATH: Final = "/account"
TRACES_PATH: Final = "/v1/traces"
"""Where OpenTelemetry's OTLP over HTTP delivers spans."""

AUTH_SERVER_URL: Final = "http://localhost:9000"
RESOURCE_SERVER_URL: Final = "http://localhost:9001"
CLIENT_SERVICE_URL: Final = "http://localhost:9002"

DEMO_CLIENT: Final = "bank-reconciler"
"""The client that `make up` registers, and the vault entry its credentials rest in."""

VAULT_CLIENT_ID: Final = "client_id"
VAULT_CLIENT_SECRET: Final = "client_secret"  # noqa: S105 - a field's name, no password

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_identifier(text: str) -> bool:
    """Tell whether ``text`` has the shape of our client ids, secrets and vault entries.

    1 to 128 characters of ``[A-Za-z0-9_-]``: nothing that SQL, a path or a log line could
    misread. Checked before a look-up, as a NUL passes SQLite and breaks PostgreSQL.
    """
    return _IDENTIFIER.fullmatch(text) is not None
