"""The bank's own errors as problem details (RFC 9457); the token's are in token_validation.py."""

import logging
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, json
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2


def answer_with_problem_details(app: Flask) -> None:
    """Make ``app`` answer each of its errors as problem details; no trace is ever shown.

    An exception that nobody caught is logged by Flask and comes here as a 500.
    """
    app.register_error_handler(HTTPException, _http_error)
    for error in (OperationalError, InterfaceError, PoolTimeoutError):
        app.register_error_handler(error, _database_away)


def problem(status: int, detail: str | None) -> Response:
    """Return the problem document for ``status``, not to be kept by any cache."""
    document: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(status).phrase}
    document |= {"status": status, "detail": detail}
    answer = Response(json.dumps(document), status, mimetype=MEDIA_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _http_error(error: HTTPException) -> Response:
    """Answer ``error``; headers of its own, as `Allow` at a 405, stay."""
    answer = problem(error.code or HTTPStatus.INTERNAL_SERVER_ERROR, error.description)
    for name, value in error.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value
    return answer


def _database_away(error: SQLAlchemyError) -> Response:
    """Answer that the bank cannot work now. The log gets the cause, but no statement's values."""
    log.error("database: %s: %s", type(error).__name__, getattr(error, "orig", error))
    answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, "the bank's database does not answer now")
    answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer
