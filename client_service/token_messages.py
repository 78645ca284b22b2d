"""The token request and its answer as messages: the one made, the other judged (RFC 6749 §4.4).

Sending is `token_source.py`. The token is not looked into: it is opaque to a client (RFC 6749
§1.4, RFC 9068 §6); who may read it is the API that it is for.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import requests
from requests import PreparedRequest

from client_service.retries import RequestFailedError

LONGEST_ANSWER_BYTES = 1024 * 1024
LONGEST_DETAIL = 500
LONGEST_LIFETIME_SECONDS = 86_400
"""A longer life is not believed: a token is cheap to renew."""

_ERROR_CODE = re.compile(r"[\x20\x21\x23-\x5B\x5D-\x7E]{1,100}")  # RFC 6749 §5.2
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1


class TokenError(RequestFailedError):
    """There is no token.

    ``code`` is the error code of RFC 6749 §5.2, or one of ours: `no_answer`, `invalid_answer`.
    """


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What the client proves itself with: a secret, or a private key.

    ``private_jwk`` is a JSON Web Key (RFC 7517), as JSON; `private_key_jwt.py` signs with it.
    """

    client_id: str
    client_secret: str = field(default="", repr=False)
    private_jwk: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, and on the clock of its TokenSource when it is due for renewal and when it ends."""

    value: str = field(repr=False)
    renew_at: float
    ends_at: float


class Proof(NamedTuple):
    """What joins the form of a token request, and what requests takes as its `auth`."""

    form: dict[str, str]
    auth: Callable[[PreparedRequest], PreparedRequest]


Authentication = Callable[[ClientCredentials], Proof]
"""How a client proves itself: by the one method that is registered for it (RFC 6749 §2.3)."""


def token_request(
    scope: str, resource: str | None, parameters: Mapping[str, str]
) -> dict[str, str]:
    """Return the form of a token request (RFC 6749 §4.4.2), all but the client's proof."""
    form = {**parameters, "grant_type": "client_credentials"}
    asked = {"scope": scope, "resource": resource}  # RFC 6749 §3.3, RFC 8707 §2
    return form | {name: value for name, value in asked.items() if value}


def client_secret_post(credentials: ClientCredentials) -> Proof:
    """Put the credentials into the form (RFC 6749 §2.3.1)."""
    pair = {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
    return Proof(pair, as_it_is)


def client_secret_basic(credentials: ClientCredentials) -> Proof:
    """Send the credentials by HTTP Basic, and nothing of them in the form.

    Both parts are form-encoded first (RFC 6749 §2.3.1 and appendix B), which requests' own
    `auth=(id, secret)` leaves out: a `:`, `%` or `+` in a secret would arrive as something else.
    """
    pair = f"{quote_plus(credentials.client_id)}:{quote_plus(credentials.client_secret)}"

    def add_header(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return request

    return Proof({}, add_header)


def as_it_is(request: PreparedRequest) -> PreparedRequest:
    """Return ``request`` unchanged: given as `auth`, it keeps requests from asking `~/.netrc`.

    Where a request has no `auth` of its own, requests takes that file's password for the host
    and overwrites the Authorization header with it.
    """
    return request


def token_in(
    status: int,
    body: bytes,
    began: float,
    share: float,
    default_lifetime: float,
    retry_after: float = 0,
) -> AccessToken:
    """Return the token in an answer of HTTP ``status``.

    Its life counts from ``began``, before the request was sent, so that it is never thought
    longer than it is; it is due for renewal after ``share`` of it. Without `expires_in`, which
    RFC 6749 §5.1 only recommends, it lives ``default_lifetime`` seconds. Other members are
    ignored (RFC 6749 §5.1), the `id_token` too: that one is made for this client and is never
    sent to an API, whatever it looks like (OIDC Core §2, RFC 9068 §4).

    Raises TokenError where there is none.
    """
    answer = json_object(body)
    if status != 200:
        raise _error_in(status, answer, retry_after)
    token_type, value = answer.get("token_type"), answer.get("access_token")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        # RFC 6749 §7.1: a client MUST NOT use a token whose type it does not understand.
        raise TokenError("invalid_answer", "the token_type is not Bearer", status)
    if not isinstance(value, str) or not _BEARER_TOKEN.fullmatch(value):
        raise TokenError("invalid_answer", "no access_token that a header can carry", status)
    lifetime = _seconds(answer.get("expires_in", default_lifetime))
    if lifetime <= 0:
        raise TokenError("invalid_answer", "expires_in is not a number of seconds", status)
    return AccessToken(value, began + lifetime * share, began + lifetime)


def read_bounded(response: requests.Response) -> bytes:
    """Return the body of a streamed ``response``; of one that is too long only the start."""
    body = bytearray()
    for piece in response.iter_content(8192):
        body += piece
        if len(body) > LONGEST_ANSWER_BYTES:
            break
    return bytes(body[:LONGEST_ANSWER_BYTES])


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``; an empty one where there is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        return {}
    return answer if isinstance(answer, dict) else {}


def told_by(words: object) -> str:
    """Return a server's ``words`` to a person, as any log, database and terminal takes them.

    JSON may hold a NUL, what moves a terminal's cursor, and half of a surrogate pair (RFC 8259
    §8.2), which UTF-8 cannot say.
    """
    return "".join(one if one.isprintable() else " " for one in str(words)[:LONGEST_DETAIL])


def seconds_to_wait(headers: Mapping[str, str], wall_time: float) -> float:
    """Return what `Retry-After` asks for, in seconds or as a date (RFC 9110 §10.2.3); else 0."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        date = parsedate_to_datetime(text)
        # A date without a zone is in UTC, as every date of HTTP (RFC 9110 §5.6.7).
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall_time)
    except (ValueError, OverflowError):
        return 0


def _error_in(status: int, answer: dict[str, Any], retry_after: float) -> TokenError:
    code, description = answer.get("error"), answer.get("error_description")
    if not isinstance(code, str) or not _ERROR_CODE.fullmatch(code):
        detail = "neither a token nor an OAuth error"
        return TokenError("invalid_answer", detail, status, retry_after)
    detail = told_by(description or "without a description")
    return TokenError(code, detail, status, retry_after)


def _seconds(value: object) -> float:
    """Return ``value`` as a life in seconds, capped; 0 where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        lifetime = float(value)  # some servers send it as a text
    except (ValueError, OverflowError):
        return 0
    return min(lifetime, LONGEST_LIFETIME_SECONDS) if lifetime > 0 else 0  # NaN is not above 0
