"""The errors of the client service as problem details (RFC 9457)."""

from http import HTTPStatus

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from shared.database_outage import answer_outages

MEDIA_TYPE = "application/problem+json"
DATABASE_AWAY = "the database does not answer now"


def answer_with_problem_details(app: Flask) -> None:
    """Make ``app`` answer each of its errors as problem details; no trace is ever shown.

    An exception that nobody caught is logged by Flask and comes here as a 500.
    """
    app.register_error_handler(HTTPException, _http_error)
    answer_outages(app, _database_away)


def problem(status: int, detail: str | None, **members: object) -> Response:
    """Return the problem document for ``status``, with further ``members``."""
    document: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(status).phrase}
    document |= {"status": status, "detail": detail, **members}
    return Response(json.dumps(document), status, mimetype=MEDIA_TYPE)


def _http_error(error: HTTPException) -> Response:
    """Answer ``error``; headers of its own, as `Allow` at a 405, stay."""
    answer = problem(error.code or HTTPStatus.INTERNAL_SERVER_ERROR, error.description)
    for name, value in error.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value
    return answer


def _database_away() -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, DATABASE_AWAY)
