"""The other way to check a token: ask its issuer (RFC 7662), for every request anew.

A revoked token is refused at once, and a token need not be a JWT. That costs a request to the
issuer for each request to the API, and without the issuer the API opens for nobody; what
`token_validation.py` does alone needs the issuer now and then.

No answer is kept. RFC 7662 §4 would allow that until `exp`; but a token that was revoked would
then live on as long, which is what this way is chosen against.

What the issuer answers is judged once more, as far as it says anything. Not checked: that it says
for whom a token is (§4 has the issuer tell whether this API may take it).
"""

import logging
import math
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final
from urllib.parse import quote_plus

from requests import PreparedRequest

from resource_server.issuer_keys import Issuer, IssuerAnswer, IssuerError, json_object
from resource_server.token_validation import (
    CannotJudgeError,
    InvalidTokenError,
    MalformedClaimError,
    VerifiedToken,
    judge_audience,
    judge_issuer,
    judge_times,
    refuse_malformed,
    scopes_in,
    text_in,
    time_in,
)

log = logging.getLogger(__name__)

ENDPOINT_LIFETIME_SECONDS: Final = 300
RETRY_AFTER_SECONDS: Final = 2
_SECONDS = re.compile(r"[1-9]\d{0,3}", re.ASCII)


@dataclass(slots=True)
class TokenIntrospection:
    """Judges tokens by asking their issuer. Safe to share between threads.

    ``client_id`` and ``client_secret`` are the API's own at the issuer. While the issuer does not
    answer, one request at a time finds out whether it does again; the others are told so at once,
    or else they would all wait, and with them whatever else the service does.
    """

    issuer: Issuer
    audience: str
    client_id: str
    client_secret: str = field(repr=False)
    leeway_seconds: float = 5
    now: Callable[[], float] = time.time
    _endpoint: str = field(default="", init=False)
    _endpoint_until: float = field(default=-math.inf, init=False)
    _is_away: bool = field(default=False, init=False)
    _probing: Lock = field(default_factory=Lock, init=False, repr=False)

    def validate(self, token: str) -> VerifiedToken:
        """Return what the issuer says of ``token``, if it is good.

        Raises MalformedRequestError for what can be no token, InvalidTokenError, and
        CannotJudgeError where the issuer cannot be asked.
        """
        refuse_malformed(token)
        answer = self._asked(token)
        if answer.get("active") is not True:
            raise InvalidTokenError("the issuer says that the token is not active")
        try:
            return self._judged(answer)
        except MalformedClaimError as error:  # of the issuer's making, not of the caller's
            log.error("the issuer's answer on a token cannot be used: %s", error)
            raise _cannot_ask() from error

    def _judged(self, answer: Mapping[str, Any]) -> VerifiedToken:
        """Judge what is said; all of it but `active` is optional (RFC 7662 §2.2)."""
        said = {name: value for name, value in answer.items() if value is not None}
        token_type = said.get("token_type", "Bearer")
        if not isinstance(token_type, str) or token_type.lower() != "bearer":
            raise InvalidTokenError("the token is no bearer token")
        if "iss" in said:
            judge_issuer(said, self.issuer.identifier)
        if "aud" in said:
            judge_audience(said, self.audience)
        token = VerifiedToken(
            client_id=text_in(said, "client_id"),
            subject=text_in(said, "sub") if "sub" in said else "",
            token_id=text_in(said, "jti") if "jti" in said else "",
            scopes=scopes_in(said),
            issued_at=time_in(said, "iat") if "iat" in said else 0,
            not_before=time_in(said, "nbf") if "nbf" in said else 0,
            expires_at=time_in(said, "exp") if "exp" in said else math.inf,
        )
        judge_times(token, self.now(), self.leeway_seconds)
        return token

    def _asked(self, token: str) -> dict[str, Any]:
        if not self._is_away:
            return self._answer_on(token)
        if not self._probing.acquire(blocking=False):
            raise _cannot_ask()
        try:
            return self._answer_on(token)
        finally:
            self._probing.release()

    def _answer_on(self, token: str) -> dict[str, Any]:
        form = {"token": token, "token_type_hint": "access_token"}  # RFC 7662 §2.1
        try:
            url = self._introspection_endpoint()
            answer = self.issuer.exchange("POST", url, form, self._authenticate)
        except IssuerError as error:
            self._is_away = True
            log.warning("cannot ask the issuer about a token: %s", error)
            raise _cannot_ask() from error
        self._is_away = False
        if answer.status != 200:
            raise self._refused(answer)
        try:
            return json_object(answer.body)
        except ValueError as error:
            log.error("the issuer's answer on a token cannot be used: %s", error)
            raise _cannot_ask() from error

    def _introspection_endpoint(self) -> str:
        """Return the endpoint as the issuer's metadata has it, looked up now and then."""
        now = time.monotonic()
        if now >= self._endpoint_until:
            self._endpoint = self.issuer.address("introspection_endpoint")
            self._endpoint_until = now + ENDPOINT_LIFETIME_SECONDS
        return self._endpoint

    def _authenticate(self, request: PreparedRequest) -> PreparedRequest:
        """Add `client_secret_basic`; both parts are form-encoded first (RFC 6749 §2.3.1)."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        request.headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        return request

    def _refused(self, answer: IssuerAnswer) -> CannotJudgeError:
        """Return what the caller is told: never 401, as the token may be good."""
        self._endpoint_until = -math.inf
        if answer.status in {401, 403}:
            log.error(
                "the issuer refuses to tell %r about tokens (%d): are its id and secret right, "
                "and may it introspect?",
                self.client_id,
                answer.status,
            )
        else:
            log.warning("the issuer answered %d when asked about a token", answer.status)
        retry_after = answer.headers.get("Retry-After", "")
        return _cannot_ask(int(retry_after) if _SECONDS.fullmatch(retry_after) else None)


def _cannot_ask(retry_after_seconds: int | None = None) -> CannotJudgeError:
    return CannotJudgeError(
        "the issuer cannot be asked about the token now",
        retry_after_seconds or RETRY_AFTER_SECONDS,
    )
