"""Payments: `POST /payments` with the scope `Write`, and what became of one with `Read`."""

from datetime import timedelta
from typing import Final, cast

from flask import Blueprint, Flask, Response, abort, current_app, request, url_for
from flask.typing import ResponseReturnValue

from resource_server.account import return_resource
from resource_server.idempotency import HEADER, Answer, MalformedKeyError, idempotency_key
from resource_server.payment_order import read_order
from resource_server.problem_details import ProblemType, problem_answer
from resource_server.teller import Teller
from resource_server.token_validation import require_token, verified_token
from shared.arrows import refused
from shared.database import Database
from shared.identifiers import SCOPE_READ, SCOPE_WRITE, is_identifier

EXTENSION: Final = "teller"
RETRY_AFTER_SECONDS: Final = 2

payments = Blueprint("payments", __name__)


def take_payments(app: Flask, database: Database, keys_are_kept: timedelta) -> None:
    """Give ``app`` a teller, and the views in front of it."""
    app.extensions[EXTENSION] = Teller(database, keys_are_kept)
    app.register_blueprint(payments)


@payments.post("/payments")
@require_token(scope=SCOPE_WRITE)
def make_payment() -> ResponseReturnValue:
    """Move money from one of the client's accounts, once for each idempotency key."""
    if request.if_match:  # RFC 9110 §13.1.1: MUST NOT perform; nothing is there that has a tag
        abort(412, "If-Match names a payment, and there is none yet")
    try:
        key = idempotency_key(request.headers.get(HEADER))
    except MalformedKeyError as error:
        problem = ProblemType.IDEMPOTENCY_KEY_NEEDED
        return _said(Answer(problem.status, problem.document(str(error))))
    order = read_order(request)
    return _said(_teller().pay(verified_token().client_id, key, order))


@payments.get("/payments/<payment_id>")
@require_token(scope=SCOPE_READ)
def read_payment(payment_id: str) -> ResponseReturnValue:
    """Return a payment that this client made, even of an account that it no longer sees."""
    known = is_identifier(payment_id)
    fields = _teller().payment(verified_token().client_id, payment_id) if known else None
    return return_resource(fields or abort(404, "this client made no such payment"))


def _said(answer: Answer) -> Response:
    """Answer 201 with the payment (RFC 9110 §15.3.2), or with the problem."""
    if answer.status == 201:
        place = url_for("payments.read_payment", payment_id=answer.fields["payment_id"])
        return return_resource(answer.fields, {"Location": place}, answer.status)
    problem = answer.fields
    refused(
        answer.status,
        problem["type"],
        method=request.method,
        url=request.base_url,
        parameters={"detail": problem["detail"]},
    )
    response = problem_answer(problem, answer.status)
    if problem["type"] == ProblemType.PAYMENT_UNDER_WAY.uri:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _teller() -> Teller:
    return cast("Teller", current_app.extensions[EXTENSION])
