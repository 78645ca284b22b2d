"""The bank's own errors as problem details (RFC 9457); the token's are in token_validation.py."""

from http import HTTPStatus
from typing import Final

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from shared.database_outage import answer_outages

MEDIA_TYPE: Final = "application/problem+json"


def answer_with_problem_details(app: Flask) -> None:
    """Make ``app`` answer each of its errors as problem details; no trace is ever shown.

    An exception that nobody caught is logged by Flask and comes here as a 500.
    """
    app.register_error_handler(HTTPException, _http_error)
    answer_outages(app, _database_away)


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


def _database_away() -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the bank's database does not answer now")
