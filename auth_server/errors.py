"""The errors that this server answers, and how: RFC 6749 §5.2, RFC 8707 §2."""

import logging
from http import HTTPStatus

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import errors
from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException

from auth_server import audit
from auth_server.signing_keys.encryption import KeysUnavailableError
from shared.arrows import refused
from shared.database_outage import RETRY_AFTER_SECONDS, answer_outages
from shared.identifiers import INTROSPECTION_PATH, REVOCATION_PATH, TOKEN_PATH

log = logging.getLogger(__name__)

CHALLENGE = 'Basic realm="token endpoint", charset="UTF-8"'
PATHS_FOR_CLIENTS = frozenset({TOKEN_PATH, INTROSPECTION_PATH, REVOCATION_PATH})
"""Where a client authenticates: what is answered there is never kept, and refusals are recorded."""

# Authlib says nothing beside this code.
DESCRIPTIONS = {"unsupported_grant_type": "The one grant type here is client_credentials."}

# RFC 6749 §5.2 has no code for what HTTP refuses by itself; `invalid_request` ("otherwise
# malformed") is the nearest for what the caller did, and these for the rest.
HTTP_ERRORS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.INTERNAL_SERVER_ERROR: "server_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "temporarily_unavailable",
}


class InvalidClientError(errors.InvalidClientError):
    """Client authentication failed; ``reason`` is for the log alone (decision 6).

    ``client_id`` is the client that the request claimed to come from, registered or not; None
    where it named none. It is not in the answer.

    Every failure gets the same status, text and challenge, so that an unknown client and a wrong
    secret can't be told apart. Authlib has a text for each cause, and 400 where no header came.
    """

    status_code = HTTPStatus.UNAUTHORIZED
    description = "Client authentication failed."

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
        self.client_id: str | None = None

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers with our challenge: Authlib's has no realm (RFC 7617 §2, MUST)."""
        return [*OAuth2Error.get_headers(self), ("WWW-Authenticate", CHALLENGE)]


class TooManyFailuresError(OAuth2Error):
    """A client failed to authenticate, once more than the limits allow (decision 6).

    Stands in place of ``failure``. The code is not `invalid_client`, with which RFC 6749 §5.2 has
    a 401 and its challenge; `temporarily_unavailable` (§4.1.2.1) is the one that says: later.
    """

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    error = "temporarily_unavailable"
    description = "Client authentication failed too often."

    def __init__(self, failure: InvalidClientError, retry_after_seconds: int) -> None:
        super().__init__()
        self.reason = failure.reason
        self.client_id = failure.client_id
        self.retry_after_seconds = retry_after_seconds

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers, and when to come back (RFC 6585 §4)."""
        return [*super().get_headers(), ("Retry-After", str(self.retry_after_seconds))]


class MayNotIntrospectError(OAuth2Error):
    """The client is no resource server: it may look into no token (RFC 7662 §2.1, §4).

    Not "inactive": that is said of a token to one who may ask (§2.2), and this one's token is not
    looked at. The code is that of RFC 6749 §5.2 for a client that may not do what it asks for.
    """

    status_code = HTTPStatus.FORBIDDEN
    error = "unauthorized_client"
    description = "The client may not introspect tokens."


class InvalidTargetError(OAuth2Error):
    """The resource is unknown, malformed or one too many (RFC 8707 §2)."""

    error = "invalid_target"


def refusal(error: OAuth2Error) -> Response:
    """Return the answer to an OAuth error, and record it: once for each refused request."""
    status, body, headers = error()
    if claimed := getattr(error, "client_id", None):
        audit.note(claimed_client_id=claimed)
    body.setdefault("error_description", DESCRIPTIONS.get(body["error"], "The request failed."))
    _record(int(status), body, getattr(error, "reason", ""))
    return Response(json.dumps(body), status, headers)


def register_error_handlers(app: Flask) -> None:
    """Let ``app`` answer every error as an OAuth JSON object, and none with a stack trace."""
    app.register_error_handler(OAuth2Error, refusal)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(KeysUnavailableError, _keys_unavailable)
    app.register_error_handler(Exception, _bug)
    answer_outages(app, _unavailable)


def _http_error(error: HTTPException) -> Response:
    """Answer what HTTP itself refuses: a method, a path, a host, a body that is too large."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return _answer(status, status.phrase, allow=getattr(error, "valid_methods", None))


def _unavailable() -> Response:
    return _answer(HTTPStatus.SERVICE_UNAVAILABLE, "Try again in a moment.")


def _keys_unavailable(error: KeysUnavailableError) -> Response:
    log.error("%s", error)
    response = _unavailable()
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _bug(error: Exception) -> Response:
    log.error("a bug", exc_info=error)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed.")


def _answer(status: HTTPStatus, description: str, allow: list[str] | None = None) -> Response:
    body = {
        "error": HTTP_ERRORS.get(status, "invalid_request"),
        "error_description": description,
    }
    if request.path in PATHS_FOR_CLIENTS:
        _record(status, body, "")
    response = Response(json.dumps(body), status, mimetype="application/json")
    if allow:
        response.headers["Allow"] = ", ".join(sorted(allow))
    return response


def _record(status: int, body: dict[str, str], reason: str) -> None:
    description = body.get("error_description", "")
    refused(status, body["error"], parameters={"error_description": description})
    audit.note(error=body["error"], reason=reason or description)
