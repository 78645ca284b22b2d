"""Asks the vault's server, as the jobs of docker-compose.yml do it."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 10


class VaultRefusedError(Exception):
    """The vault did not do what it was asked; the text says what that was, without any secret."""


@dataclass(frozen=True)
class VaultApi:
    """The HTTP API of OpenBao or HashiCorp Vault at ``url``."""

    url: str

    def ask(
        self, method: str, path: str, token: str | None = None, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and document of an answer, which is empty where none came.

        Raises VaultRefusedError where the vault cannot be reached.
        """
        request = urllib.request.Request(  # noqa: S310 - the address is a setting of ours
            f"{self.url}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": token} if token else {},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, {}
        except OSError as error:
            raise VaultRefusedError(
                f"the vault at {self.url} cannot be reached: {error}"
            ) from error

    def do(
        self, method: str, path: str, token: str | None = None, body: object = None
    ) -> dict[str, Any]:
        """Return the document of an answer; raise VaultRefusedError where it is an error."""
        status, document = self.ask(method, path, token, body)
        if status >= 400:
            raise VaultRefusedError(f"the vault answered {status} to {method} {path}")
        return document
