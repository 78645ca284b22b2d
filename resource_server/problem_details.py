"""The bank's own errors as problem details (RFC 9457); the token's are in token_validation.py."""

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from shared.database_outage import answer_outages

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "tag:bank.example,2026:"
"""Our problem types are tag URIs (RFC 4151): names that lead nowhere, the same on every host."""


class ProblemType(Enum):
    """What a program must tell apart though the status is the same: name, status and title."""

    INSUFFICIENT_FUNDS = ("insufficient-funds", 409, "Insufficient funds")
    PAYMENT_UNDER_WAY = ("payment-under-way", 409, "The payment is under way")
    IDEMPOTENCY_KEY_NEEDED = ("idempotency-key-needed", 400, "An idempotency key is needed")
    IDEMPOTENCY_KEY_REUSED = ("idempotency-key-reused", 422, "The idempotency key was used")
    NO_SUCH_ACCOUNT = ("no-such-account", 422, "No such account to debit")
    CURRENCY_MISMATCH = ("currency-mismatch", 422, "Another currency")
    NOT_CREDITABLE = ("not-creditable", 422, "No such account to credit")

    def __init__(self, label: str, status: int, title: str) -> None:
        self.uri = TYPE_PREFIX + label
        self.status = status
        self.title = title

    def document(self, detail: str) -> dict[str, object]:
        """Return the problem document, which says ``detail``."""
        named: dict[str, object] = {"type": self.uri, "title": self.title}
        return {**named, "status": self.status, "detail": detail}


def answer_with_problem_details(app: Flask) -> None:
    """Make ``app`` answer each of its errors as problem details; no trace is ever shown.

    An exception that nobody caught is logged by Flask and comes here as a 500.
    """
    app.register_error_handler(HTTPException, _http_error)
    answer_outages(app, _database_away)


def problem(status: int, detail: str | None) -> Response:
    """Return the problem document of no type but its ``status``."""
    document: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(status).phrase}
    return problem_answer({**document, "status": status, "detail": detail}, status)


def problem_answer(document: Mapping[str, object], status: int) -> Response:
    """Answer with a problem document, not to be kept by any cache."""
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
