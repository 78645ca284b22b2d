"""The client's credentials, read from the key vault at every token request."""

import logging
from dataclasses import dataclass, field
from typing import Final

from client_service.private_key_jwt import signing_key
from client_service.token_messages import ClientCredentials, TokenError, told_by
from shared.identifiers import VAULT_CLIENT_ID, VAULT_CLIENT_SECRET
from shared.vault import Vault, VaultError

log = logging.getLogger(__name__)

VAULT_PRIVATE_JWK: Final = "private_jwk"
"""The field that a client has which signs: its private key, a JWK (RFC 7517)."""


@dataclass(slots=True)
class VaultCredentials:
    """Called, it returns what the vault holds now, so that a rotated secret needs no restart.

    While the vault cannot be read, the last good credentials serve.
    """

    vault: Vault
    entry: str
    proof: str = VAULT_CLIENT_SECRET
    """The field that holds what the client proves itself with."""
    _last: ClientCredentials | None = field(default=None, init=False, repr=False)

    def __call__(self) -> ClientCredentials:
        """Return the credentials; raise TokenError where the vault never gave any."""
        try:
            return self.read()
        except VaultError as error:
            if self._last is None:
                raise TokenError("no_credentials", told_by(error)) from error
            log.warning("the last good credentials serve on: %s", error)
            return self._last

    def read(self) -> ClientCredentials:
        """Return what the vault holds; raise VaultError where that is no pair of credentials.

        A readiness check reads too: what it saw last is the newest pair that can serve on.
        """
        fields = self.vault.read(self.entry)
        missing = [name for name in (VAULT_CLIENT_ID, self.proof) if not fields.get(name)]
        if missing:
            raise VaultError(f"the vault's entry {self.entry!r} has no {' and no '.join(missing)}")
        if self.proof == VAULT_PRIVATE_JWK:
            self._require_a_key(fields[self.proof])
        self._last = ClientCredentials(fields[VAULT_CLIENT_ID], **{self.proof: fields[self.proof]})
        return self._last

    def _require_a_key(self, jwk: str) -> None:
        try:
            signing_key(jwk)
        except ValueError as error:
            raise VaultError(
                f"the vault's entry {self.entry!r}: {VAULT_PRIVATE_JWK}: {error}"
            ) from error
