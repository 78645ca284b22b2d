"""What the tests know of the server that they test: its URL and its registered clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.stack.issuer import OwnIssuer
from tests.stack.signing_client import SigningClient


@dataclass(frozen=True)
class Client:
    """A client that the authorization server under test knows."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class OtherResource:
    """A second resource, and a client that may have tokens for the first and for this one."""

    identifier: str
    scopes: tuple[str, ...]
    client: Client


@dataclass(frozen=True)
class AuthorizationServerUnderTest:
    """An authorization server, whoever made it.

    ``scopes`` are those of ``resource``, all of which ``client`` may have. A client that was not
    given is None: the tests that need it are skipped.
    """

    issuer: str
    metadata: Mapping[str, Any] = field(repr=False)
    """The document of OpenID Connect Discovery, else that of RFC 8414."""
    resource: str
    scopes: tuple[str, ...]
    client: Client
    issues_id_tokens: bool
    narrow_client: Client | None = None
    """May have the first of ``scopes`` alone."""
    client_without_id_token: Client | None = None
    disabled_client: Client | None = None
    other_resource: OtherResource | None = None
    signing_client: SigningClient | None = None
    """Authenticates by `private_key_jwt`, with the algorithms of its keys."""
    resource_server: Client | None = None
    """May introspect the tokens of ``resource``."""

    @property
    def token_url(self) -> str:
        """The token endpoint, where the metadata has it."""
        return str(self.metadata["token_endpoint"])

    @property
    def introspection_url(self) -> str:
        """The introspection endpoint, where the metadata has it."""
        return str(self.metadata["introspection_endpoint"])

    @property
    def revocation_url(self) -> str:
        """The revocation endpoint, where the metadata has it."""
        return str(self.metadata["revocation_endpoint"])

    @property
    def jwks_url(self) -> str:
        """Where the metadata has the keys."""
        return str(self.metadata["jwks_uri"])


@dataclass(frozen=True)
class ResourceServerUnderTest:
    """A resource server that trusts the tests' own issuer, which signs what a good one won't.

    ``url`` is what a GET with a token of ``scope`` opens.
    """

    url: str
    scope: str
    issuer: OwnIssuer = field(repr=False)
