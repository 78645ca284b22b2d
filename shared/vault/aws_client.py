"""AWS Secrets Manager as boto3 asks it: who we are, how long we wait, and what its errors mean.

Our credentials are those of the platform (the role of a task, a pod or an instance), found by
boto3's own chain; none is a setting of ours.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as UnconnectedError

from shared.vault.errors import (
    VaultAnswerError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultThrottledError,
    VaultUnreachableError,
)

CONNECT_SECONDS, READ_SECONDS = 3.05, 5.0
ATTEMPTS = 3  # in all; botocore pauses between them, with jitter and at most 3 s together

WITHOUT_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
REFUSED_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "ExpiredTokenException",
    "ExpiredToken",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
}
FORBIDDEN = {"AccessDeniedException", "AccessDenied", "403"}  # 403: of a gateway, without a code
THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException"}

Request = Callable[[Any], dict[str, Any]]


class AwsClient:
    """Asks one region. Safe to share between threads; nothing is looked up before the first call.

    After credentials were missing or refused, the chain is gone through anew at the next call: a
    role that is given later needs no restart.
    """

    def __init__(
        self,
        region: str | None = None,
        url: str | None = None,
        ca_file: Path | None = None,
        attempts: int = ATTEMPTS,
        patience_seconds: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        self._region, self._url, self._ca_file = region, url, ca_file
        connect, read = patience_seconds
        self._config = Config(
            connect_timeout=connect,
            read_timeout=read,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        self._client: Any = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Return what errors call it: its address, or its region."""
        return self._url or f"AWS Secrets Manager in {self._region or 'the region of the platform'}"

    def ask(self, request: Request, doing: str) -> tuple[str, dict[str, Any]]:
        """Return "" and the answer, or the error's code and nothing: what the code means depends.

        Raises VaultUnreachableError, VaultLoginRefusedError, VaultForbiddenError,
        VaultThrottledError, VaultAnswerError. Without a cause: boto3's errors hold what the
        server said, and some of them what was sent.
        """
        try:
            return "", request(self._connected())
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "an error without a code"))
        except WITHOUT_CREDENTIALS as error:
            self._client = None
            raise VaultLoginRefusedError(
                f"the platform has no credentials for {self.name}: {type(error).__name__}"
            ) from None
        except (UnconnectedError, HTTPClientError) as error:
            raise VaultUnreachableError(
                f"the vault {self.name} cannot be reached: {type(error).__name__}"
            ) from None
        except (BotoCoreError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self.unusable(f"what boto3 cannot use ({type(error).__name__})") from None
        self._raise_what_every_request_may_meet(code, doing)
        return code, {}

    def unusable(self, what: str) -> VaultAnswerError:
        """Return the error that says ``what`` is wrong with an answer."""
        return VaultAnswerError(f"the vault {self.name} answered {what}")

    def _connected(self) -> Any:
        with self._lock:  # boto3's clients can be shared; the session that makes one cannot
            if self._client is None:
                self._client = boto3.Session(region_name=self._region).client(
                    "secretsmanager",
                    endpoint_url=self._url,
                    verify=str(self._ca_file) if self._ca_file else None,
                    config=self._config,
                )
            return self._client

    def _raise_what_every_request_may_meet(self, code: str, doing: str) -> None:
        if code in REFUSED_CREDENTIALS:
            self._client = None
            raise VaultLoginRefusedError(
                f"the vault {self.name} refuses the platform's credentials: {code}"
            )
        if code in FORBIDDEN:
            raise VaultForbiddenError(f"the vault {self.name} does not allow our role to {doing}")
        if code in THROTTLED:
            raise VaultThrottledError(f"the vault {self.name} is asked too often to {doing}")


def region_is_known(region: str | None) -> bool:
    """Tell whether a region is given, or the platform names one; False if it cannot be read."""
    try:
        return boto3.Session(region_name=region).region_name is not None
    except BotoCoreError:
        return False
