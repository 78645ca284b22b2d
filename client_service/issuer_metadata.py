"""Discovery: the token endpoint as the authorization server publishes it (RFC 8414)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from client_service.token_messages import (
    TokenError,
    as_it_is,
    json_object,
    read_bounded,
    seconds_to_wait,
)

METADATA_PATH = "/.well-known/openid-configuration"
TIMEOUT_SECONDS = (3.05, 10)
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
LIFETIME_SECONDS = 3600
RETRY_SECONDS = 30  # after a look-up that failed


@dataclass(slots=True)
class IssuerMetadata:
    """Finds an issuer's token endpoint, and keeps it for an hour; then it is looked up again.

    ``metadata_url`` is where the document is fetched, if not below the issuer: a declared
    departure from RFC 8414 §3.3 for networks that know the server by another name. The `issuer`
    in the document is compared all the same.
    """

    issuer: str
    session: requests.Session = field(default_factory=requests.Session)
    metadata_url: str | None = None
    allow_plain_http: bool = False
    now: Callable[[], float] = time.monotonic
    _token_endpoint: str = field(default="", init=False)
    _known_until: float = field(default=0, init=False)

    def token_endpoint(self) -> str:
        """Return the URL of the token endpoint; while a new look-up fails, the one known.

        Raises TokenError where none is known: without it there can be no token.
        """
        now = self.now()
        if not self._token_endpoint or now >= self._known_until:
            try:
                self._token_endpoint = self._look_up()
            except TokenError:
                if not self._token_endpoint:
                    raise
                self._known_until = now + RETRY_SECONDS
            else:
                self._known_until = now + LIFETIME_SECONDS
        return self._token_endpoint

    def _look_up(self) -> str:
        # OIDC Discovery §4.1: a slash that ends the issuer MUST be removed first.
        url = self.metadata_url or self.issuer.rstrip("/") + METADATA_PATH
        try:
            with self.session.get(
                url,
                auth=as_it_is,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                verify=self.session.verify,  # else `REQUESTS_CA_BUNDLE` would come first
                stream=True,
            ) as response:
                status, body = response.status_code, read_bounded(response)
        except requests.RequestException as error:
            raise TokenError("no_answer", f"{url}: {type(error).__name__}") from error
        if status != 200:
            wait = seconds_to_wait(response.headers, time.time())
            raise TokenError("invalid_metadata", f"{url} answered no metadata", status, wait)
        document = json_object(body)
        if document.get("issuer") != self.issuer:
            # RFC 8414 §3.3: the values MUST be identical, byte for byte; else the document
            # MUST NOT be used: another server's would get our credentials.
            named = f"its issuer is {document.get('issuer')!r:.200}"
            detail = f"{url} is not of issuer {self.issuer}: {named}"
            raise TokenError("invalid_metadata", detail, status)
        endpoint = document.get("token_endpoint")
        if not isinstance(endpoint, str) or not self._is_fit_for_credentials(endpoint):
            wanted = "it has to be https, unless on this machine or with allow_plain_http"
            detail = f"{url}: no usable token_endpoint: {wanted}"
            raise TokenError("invalid_metadata", detail, status)
        return endpoint

    def _is_fit_for_credentials(self, url: str) -> bool:
        """Tell whether ``url`` is one, and is protected as RFC 6749 §3.2 demands."""
        try:
            parts = urlsplit(url)
            is_whole = bool(parts.hostname) and parts.port != 0 and "#" not in url
        except ValueError:
            return False
        may_be_plain = self.allow_plain_http or parts.hostname in LOOPBACK_HOSTS
        return is_whole and (parts.scheme == "https" or (parts.scheme == "http" and may_be_plain))
