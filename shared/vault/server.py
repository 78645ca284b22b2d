"""One server of OpenBao or HashiCorp Vault: asks it, and judges whether it answered at all.

hvac knows the paths and bodies of the API. What an answer's status means we decide ourselves:
hvac's exceptions carry the answer's text along, and that can end up in a log.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from hvac.adapters import RawAdapter

from shared.vault.errors import VaultAnswerError, VaultSealedError, VaultUnreachableError

TIMEOUT_SECONDS = (3.05, 5.0)  # to connect, and for each read

Request = Callable[[RawAdapter], requests.Response]


class VaultServer:
    """Safe to share between threads. Nothing is read from the environment but what is passed in.

    Where hvac's Client is made without a token it takes `VAULT_TOKEN` or `~/.vault-token`, and
    requests takes proxies and passwords from the environment and `~/.netrc`. So we use hvac's
    adapter without its Client, and a session that looks at neither.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        timeout_seconds: tuple[float, float] = TIMEOUT_SECONDS,
    ) -> None:
        self.url = url
        self._timeout = timeout_seconds
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(ca_file) if ca_file else True

    def ask(self, request: Request, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """Return the status of the answer and, of one that is 200, its document.

        Raises VaultUnreachableError, VaultSealedError, VaultAnswerError.
        """
        adapter = RawAdapter(
            base_uri=self.url,
            token=token,
            session=self._session,
            timeout=self._timeout,
            allow_redirects=False,  # hvac follows them; a token goes to this server alone
            ignore_exceptions=True,
        )
        try:
            response = request(adapter)
        except OSError as error:  # requests' own exceptions are OSErrors too
            raise VaultUnreachableError(
                f"the vault at {self.url} cannot be reached: {type(error).__name__}"
            ) from error
        if response.status_code == 503:
            raise VaultSealedError(f"the vault at {self.url} is sealed, or serves nobody now")
        if response.status_code != 200:
            return response.status_code, {}
        return 200, self._document(response)

    def unusable(self, what: str) -> VaultAnswerError:
        """Return the error that says ``what`` is wrong with an answer."""
        return VaultAnswerError(f"the vault at {self.url} answered {what}")

    def _document(self, response: requests.Response) -> dict[str, Any]:
        try:
            document = response.json()
        except (ValueError, RecursionError):
            raise self.unusable("no JSON") from None  # the cause holds what was answered
        if not isinstance(document, dict):
            raise self.unusable("no JSON object")
        return document
