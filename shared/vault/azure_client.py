"""One Azure Key Vault as Microsoft's client asks it: who we are, our patience, what errors mean.

We are who the platform says: a managed identity, a workload identity, whatever azure-identity's
DefaultAzureCredential finds. None of it is a setting of ours.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import RetryPolicy
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from shared.vault.errors import (
    VaultAnswerError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultThrottledError,
    VaultUnreachableError,
)

CONNECT_SECONDS, READ_SECONDS = 3.05, 5.0
RETRIES = 2
PAUSE_SECONDS = 2.0  # the longest one between two tries

DISABLED = "SecretDisabled"

Answer = TypeVar("Answer")


class BriefRetries(RetryPolicy[Any, Any]):
    """Tries again as Microsoft's policy does, unless the server asks for a long pause.

    Theirs sleeps for whatever `Retry-After` says, in the middle of a request.
    """

    def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
        """Tell whether to try again."""
        pause = self.get_retry_after(response) or 0
        return pause <= PAUSE_SECONDS and super().is_retry(settings, response)


class AzureClient:
    """Asks the vault at ``url``. Safe to share between threads.

    The client library sends its token over https alone, and only where the vault's challenge
    names a resource that ``url`` lies in.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        credential: TokenCredential | None = None,
        retries: int = RETRIES,
        patience_seconds: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        self.url = url
        connect, read = patience_seconds
        self._secrets = SecretClient(
            url,
            credential or DefaultAzureCredential(),
            connection_verify=str(ca_file) if ca_file else True,
            connection_timeout=connect,
            read_timeout=read,
            permit_redirects=False,
            retry_policy=BriefRetries(
                retry_total=retries, retry_backoff_factor=0.4, retry_backoff_max=PAUSE_SECONDS
            ),
        )

    def ask(
        self, request: Callable[[SecretClient], Answer], doing: str
    ) -> tuple[int | str, Answer | None]:
        """Return 200 and the answer; or an error's status, or "SecretDisabled", and None.

        Raises VaultUnreachableError, VaultLoginRefusedError, VaultForbiddenError,
        VaultThrottledError, VaultAnswerError. Without a cause: it holds what the server said.
        """
        try:
            return 200, request(self._secrets)
        except ClientAuthenticationError as error:  # of the platform's identity, or the vault's 401
            raise VaultLoginRefusedError(
                f"the vault at {self.url} gets no identity that it takes: {type(error).__name__}"
            ) from None
        except (ServiceRequestError, ServiceResponseError) as error:
            raise VaultUnreachableError(
                f"the vault at {self.url} cannot be reached: {type(error).__name__}"
            ) from None
        except HttpResponseError as error:
            status, code = error.status_code, _inner_code(error)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise self.unusable(f"what its client cannot use ({type(error).__name__})") from None
        if code == DISABLED:
            return DISABLED, None
        if status == 403:
            raise VaultForbiddenError(f"the vault at {self.url} does not allow us to {doing}")
        if status == 429:
            raise VaultThrottledError(f"the vault at {self.url} is asked too often to {doing}")
        if status is None or status < 400:
            raise self.unusable(f"what its client cannot use, when asked to {doing}")
        return status, None

    def unusable(self, what: str) -> VaultAnswerError:
        """Return the error that says ``what`` is wrong with an answer."""
        return VaultAnswerError(f"the vault at {self.url} answered {what}")


def _inner_code(error: HttpResponseError) -> object:
    """Return the code that says why a request is forbidden, where there is one."""
    inner = getattr(error.error, "innererror", None)
    return inner.get("code") if isinstance(inner, dict) else None
