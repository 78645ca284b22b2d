"""The access token on a `requests` session: added, kept to its origins, renewed where refused.

    session.auth = BearerAuth(tokens, origins=["https://api.example"])

RFC 6750 §2.1 has the header, §3.1 the refusal and §5.3 why a token goes to nobody else.
"""

import re
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from client_service.token_messages import AccessToken
from client_service.token_source import TokenSource

DEFAULT_PORTS = {"http": 80, "https": 443}

_BEARER_ERROR = re.compile(r'(?i:bearer)\b.*?\berror="([\x20\x21\x23-\x5B\x5D-\x7E]{1,100})"')


class BearerAuth(AuthBase):
    """Adds the token of ``tokens`` to requests for ``origins``, and to no other.

    Where the API answers 401 `invalid_token` (the token was revoked, or the issuer's keys were
    replaced, before its end), the token is renewed once and the request repeated once, if its
    body can be sent again: a generator's cannot. Then the refusal stands in `response.history`.
    Safe to share between threads. Out of a request comes TokenError where no token is to be had.

    Not done: the token is not added anew after a redirect from one of the origins to another.
    """

    def __init__(self, tokens: TokenSource, *, origins: Iterable[str]) -> None:
        self._tokens = tokens
        self._origins = frozenset(map(origin_of, origins))
        if not all(scheme in DEFAULT_PORTS and host for scheme, host, _port in self._origins):
            raise ValueError("an origin has a scheme, http or https, and a host")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token, where ``request`` is for one of the origins."""
        if self._is_for(request.url or ""):
            token = self._tokens.token()
            request.headers["Authorization"] = f"Bearer {token.value}"
            request.hooks["response"].append(partial(self._judge, token=token))
        return request

    def _judge(self, answer: Response, *, token: AccessToken, **sending: Any) -> Response:
        """Repeat what was refused; let a redirect have the token only where it may go.

        requests keeps this hook through redirects, so it judges what other origins answer too.
        """
        request = answer.request
        if _is_refused(answer, token):
            self._tokens.discard(token)
            if _can_be_sent_again(request):
                answer = self._repeated(answer, sending)
        if answer.is_redirect and not self._is_for(urljoin(answer.url, answer.headers["Location"])):
            _forget_the_token(answer, request)
        return answer

    def _repeated(self, refused: Response, sending: dict[str, Any]) -> Response:
        refused.close()
        request = refused.request.copy()
        request.headers["Authorization"] = f"Bearer {self._tokens.token().value}"
        began = time.monotonic()
        # Past the session, as requests' own HTTPDigestAuth does it: no hook sees this answer, so
        # it is not repeated again.
        answer: Response = refused.connection.send(request, **sending)
        answer.elapsed = timedelta(seconds=time.monotonic() - began)
        answer.history.append(refused)
        return answer

    def _is_for(self, url: str) -> bool:
        try:
            return origin_of(url) in self._origins
        except ValueError:
            return False  # no URL at all


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of ``url`` (RFC 6454 §4), as requests reads them to connect.

    Raises ValueError where its port or its bracketed host is none.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def bearer_error(headers: Mapping[str, str]) -> str | None:
    """Return the error code of a Bearer challenge (RFC 6750 §3.1); None where there is none."""
    challenge = _BEARER_ERROR.search(headers.get("WWW-Authenticate", ""))
    return challenge[1] if challenge else None


def _is_refused(answer: Response, token: AccessToken) -> bool:
    """Tell whether ``token`` was refused: by one that got it, as any other may say so too."""
    refused = answer.status_code == 401 and bearer_error(answer.headers) == "invalid_token"
    sent = answer.request.headers.get("Authorization") == f"Bearer {token.value}"
    return refused and sent


def _can_be_sent_again(request: PreparedRequest) -> bool:
    """Tell whether the body is still whole; a file is taken back to where it began."""
    if request.body is None or isinstance(request.body, str | bytes):
        return True
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True


def _forget_the_token(answer: Response, request: PreparedRequest) -> None:
    """Take the token out of ``request``, of which requests makes the one that follows.

    requests leaves it in where only the scheme changes, from http to https on the usual ports.
    What ``answer`` tells of the request that was sent stays.
    """
    if answer.request is request:
        answer.request = request.copy()
    request.headers.pop("Authorization", None)
