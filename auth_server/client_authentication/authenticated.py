"""What a caller has proven, and what an endpoint asks to find it out."""

from dataclasses import dataclass
from typing import Protocol

from auth_server.registry import LiveSecret, RegisteredClient
from auth_server.token_form import TokenForm


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client that has proven who it is, and by what: its method, and the secret that matched."""

    client: RegisteredClient
    method: str
    secret: LiveSecret | None


class Authentication(Protocol):
    """What an endpoint asks who its caller is: `ClientAuthentication`, or one around it."""

    def authenticate(self, form: TokenForm) -> AuthenticatedClient:
        """Return the client that ``form`` comes from; raises as `ClientAuthentication` does."""
        ...

    def read_again(self, client: RegisteredClient) -> RegisteredClient:
        """Return ``client``, which is authenticated, as it is now."""
        ...
