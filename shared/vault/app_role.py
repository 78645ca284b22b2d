"""Who we are to the vault: the login with an AppRole, and the client token that it yields."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from hvac.api.auth_methods import AppRole as AppRoleApi
from hvac.api.auth_methods import Token as TokenApi
from pydantic import SecretStr

from shared.vault.errors import VaultAnswerError, VaultError, VaultLoginRefusedError
from shared.vault.server import VaultServer

RENEWAL_SHARE = 2 / 3
"""The part of its life after which a client token is renewed."""

_TOKEN = re.compile(r"[\x21-\x7E]+")


@dataclass(frozen=True, slots=True)
class ClientToken:
    """The vault's token for us, and when it is due and ends on the clock of its AppRole."""

    value: str = field(repr=False)
    lifetime: float
    renewable: bool
    renew_at: float
    ends_at: float


class AppRole:
    """Keeps a client token: renews it before it ends, logs in where there is none to renew.

    Safe to share between threads: one asks at a time, and who waited for it shares its outcome,
    so a server that hangs holds each of them up once.
    """

    def __init__(
        self,
        server: VaultServer,
        role_id: SecretStr,
        secret_id: SecretStr,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._role_id, self._secret_id = server, role_id, secret_id
        self._now = now
        self._token: ClientToken | None = None
        self._failure: VaultError | None = None
        self._tries = 0
        self._lock = Lock()

    def token(self) -> ClientToken:
        """Return a token that lives, as far as we know; raise VaultError where there is none."""
        token = self._token
        if token is not None and self._now() < token.renew_at:
            return token
        return self._successor(token, lambda: self._renewed_or_new(token))

    def token_after(self, refused: ClientToken) -> ClientToken:
        """Return one that is newer than ``refused``, by a login if no other thread has one."""
        return self._successor(refused, self._log_in)

    def _successor(self, old: ClientToken | None, obtain: Callable[[], ClientToken]) -> ClientToken:
        tries = self._tries
        with self._lock:
            if self._token is not None and self._token is not old:
                return self._token
            if self._failure is not None and self._tries != tries:
                raise type(self._failure)(str(self._failure)) from self._failure
            self._failure = None
            try:
                self._token = obtain()
            except VaultError as error:
                self._failure = error
                raise
            finally:
                self._tries += 1
            return self._token

    def _renewed_or_new(self, old: ClientToken | None) -> ClientToken:
        if old is None or not old.renewable or self._now() >= old.ends_at:
            return self._log_in()
        try:
            renewed = self._renew(old)
        except (VaultLoginRefusedError, VaultAnswerError):
            return self._log_in()
        # A shorter life than before: the longest that its role allows is nearly over.
        return renewed if renewed.lifetime >= old.lifetime else self._log_in()

    def _log_in(self) -> ClientToken:
        began = self._now()
        role_id, secret_id = self._role_id.get_secret_value(), self._secret_id.get_secret_value()
        status, document = self._server.ask(
            lambda adapter: AppRoleApi(adapter).login(role_id, secret_id, use_token=False)
        )
        return self._token_in(status, document, began)

    def _renew(self, old: ClientToken) -> ClientToken:
        began = self._now()
        status, document = self._server.ask(
            lambda adapter: TokenApi(adapter).renew_self(), old.value
        )
        return self._token_in(status, document, began)

    def _token_in(self, status: int, document: dict[str, Any], began: float) -> ClientToken:
        """Return the token in an answer; its life counts from ``began``, before it was asked for.

        A lifetime of 0 says that it has no end.
        """
        if 400 <= status < 500 and status != 429:
            raise VaultLoginRefusedError(
                f"the vault at {self._server.url} refuses the login: it does not know the role id, "
                "or not with this secret id"
            )
        if status != 200:
            raise self._server.unusable(f"{status} to a login")
        auth = document.get("auth")
        auth = auth if isinstance(auth, dict) else {}
        value, seconds = auth.get("client_token"), auth.get("lease_duration")
        if not isinstance(value, str) or not _TOKEN.fullmatch(value):
            raise self._server.unusable("a login without a token that a header can carry")
        if type(seconds) is not int or seconds < 0:
            raise self._server.unusable("a login without a number of seconds")
        lifetime = seconds or math.inf
        renew_at, ends_at = began + lifetime * RENEWAL_SHARE, began + lifetime
        return ClientToken(value, lifetime, auth.get("renewable") is True, renew_at, ends_at)
