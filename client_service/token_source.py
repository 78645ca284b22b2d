"""Arrow 1: asks the authorization server for an access token, keeps it, renews it in time.

To copy into a job of your own: see "Copy this into your own job" in README.md. The copied files
import the standard library, requests and OpenTelemetry's API, nothing else.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import SystemRandom
from threading import Lock

import requests

from client_service import token_messages
from client_service.retries import Repeating, Retries
from client_service.token_messages import AccessToken, ClientCredentials, TokenError
from client_service.token_renewal import DaemonTimer, EarlyRenewal, WorksLater
from shared.arrows import Arrow, passed

TIMEOUT_SECONDS = (3.05, 10)  # to connect, and for each read


@dataclass(slots=True)
class TokenSource:
    """Hands out an access token, asking for a new one before the old one ends.

    It keeps one token, for one issuer, client, scope and resource. Safe to share between threads:
    one asks, and nobody waits while the old token still lives. A timer renews a token that is in
    use; one that nobody asked for is let go. `token_url` and `credentials` are called for every
    request, so a rotated secret needs no restart; they raise TokenError where they cannot say.
    """

    token_url: Callable[[], str]
    credentials: Callable[[], ClientCredentials]
    scope: str = ""
    resource: str | None = None  # the API the token is for (RFC 8707)
    parameters: Mapping[str, str] = field(default_factory=dict)  # what else the server wants
    authenticate: token_messages.Authentication = token_messages.client_secret_post
    default_lifetime: float = 60  # seconds, where the answer does not say
    retries: Repeating[AccessToken] = field(default_factory=Retries)
    session: requests.Session = field(default_factory=requests.Session)
    now: Callable[[], float] = time.monotonic
    renewal_share: Callable[[], float] = lambda: SystemRandom().uniform(0.75, 0.85)
    timer: WorksLater = field(default_factory=DaemonTimer)
    _token: AccessToken | None = field(default=None, init=False, repr=False)
    _early: EarlyRenewal = field(init=False, repr=False)
    _asking: Future[AccessToken] | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._early = EarlyRenewal(self._renew, self.timer, self.now)

    def token(self) -> AccessToken:
        """Return a token that is still valid; raise TokenError where none is to be had."""
        token = self._token
        if token is None or self.now() >= token.ends_at:
            token = self._successor(token)
        self._early.note_use(token)
        return token

    def discard(self, refused: AccessToken) -> None:
        """Forget ``refused``, unless another thread has replaced it already."""
        with self._lock:
            if self._token is refused:
                self._token = None

    def stop(self) -> None:
        """Renew nothing beside the callers any more; who asks still gets a token."""
        self.timer.stop()

    def _renew(self, old: AccessToken) -> None:
        if self._token is old:
            self._successor(old)

    def _successor(self, old: AccessToken | None) -> AccessToken:
        """Return the token after ``old``: one thread asks, all get its token, or its failure."""
        with self._lock:
            if self._token is not None and self._token is not old:
                return self._token
            theirs, mine = self._asking, Future[AccessToken]()
            self._asking = theirs or mine
        if theirs:
            return theirs.result()
        try:
            token = self.retries.until_answered(self._request)
            self._early.plan(token)  # before anybody has it, or their use would not be noted
        except BaseException as error:
            self._asking = None
            mine.set_exception(error)
            raise
        with self._lock:
            self._token, self._asking = token, None
        mine.set_result(token)
        return token

    def _request(self) -> AccessToken:
        credentials = self.credentials()
        try:
            return self._request_with(credentials)
        except TokenError as error:
            if error.code != "invalid_client" or (fresh := self.credentials()) == credentials:
                raise
            return self._request_with(fresh)  # the secret was rotated a moment ago

    def _request_with(self, credentials: ClientCredentials) -> AccessToken:
        url, proof = self.token_url(), self.authenticate(credentials)
        form = token_messages.token_request(self.scope, self.resource, self.parameters) | proof.form
        share, began, start = self.renewal_share(), self.now(), time.time()
        try:
            with self.session.post(
                url,
                form,
                auth=proof.auth,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,  # credentials follow none
                verify=self.session.verify,  # else `REQUESTS_CA_BUNDLE` would come first
                stream=True,
            ) as response:
                code, body = response.status_code, token_messages.read_bounded(response)
        except requests.RequestException as error:
            raise TokenError("no_answer", f"{url}: {type(error).__name__}") from error
        sent = form | {"client_id": credentials.client_id}
        passed(
            Arrow.REQUEST_TOKEN, method="POST", url=url, status=code, parameters=sent, started=start
        )
        wait = token_messages.seconds_to_wait(response.headers, time.time())
        return token_messages.token_in(code, body, began, share, self.default_lifetime, wait)
