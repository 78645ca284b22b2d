"""Arrow 5: the resource content, a client's accounts and their transactions.

Every view is behind `@require_token` (where arrow 4 arrives), shows a client only the accounts
that it was given, and answers through `return_resource`. An account of somebody else answers
exactly like one that does not exist (OWASP API1:2023).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, current_app, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from resource_server.account_fields import account_fields, entry_fields, transactions_path
from resource_server.ledger import (
    default_account,
    entries,
    visible_account,
    visible_accounts,
)
from resource_server.models import Account
from resource_server.query_parameters import HIGHEST_NUMBER, identifier, limit_of_a_page, number
from resource_server.token_validation import require_token, verified_token
from shared.arrows import Arrow, passed
from shared.database import Database
from shared.identifiers import ACCOUNT_PATH, SCOPE_READ, is_identifier

accounts = Blueprint("accounts", __name__)


@accounts.get(ACCOUNT_PATH)
@require_token(scope=SCOPE_READ)
def read_own_account() -> ResponseReturnValue:
    """Return the client's default account."""
    with _database().reading() as session:
        account = default_account(session, verified_token().client_id)
    return return_resource(account_fields(_found(account)))


@accounts.get("/accounts")
@require_token(scope=SCOPE_READ)
def read_accounts() -> ResponseReturnValue:
    """Return a page of the client's accounts: up to `limit`, whose ids follow `after`."""
    after, limit = identifier("after"), limit_of_a_page()
    with _database().reading() as session:
        found = visible_accounts(session, verified_token().client_id, after, limit + 1)
    page = [account_fields(account) for account in found[:limit]]
    if len(found) <= limit:
        return return_resource({"accounts": page, "next": None})
    query = urlencode({"after": found[limit - 1].id, "limit": limit})
    link = f"{url_for('accounts.read_accounts')}?{query}"
    return return_resource({"accounts": page, "next": link}, {"Link": f'<{link}>; rel="next"'})


@accounts.get("/accounts/<account_id>")
@require_token(scope=SCOPE_READ)
def read_account(account_id: str) -> ResponseReturnValue:
    """Return one of the client's accounts."""
    with _database().reading() as session:
        account = _visible(session, account_id)
    return return_resource(account_fields(account))


@accounts.get("/accounts/<account_id>/transactions")
@require_token(scope=SCOPE_READ)
def read_transactions(account_id: str) -> ResponseReturnValue:
    """Return a page: up to `limit` transactions numbered above `after`, none above `until`.

    A page has one link (RFC 8288 §3), the one that a reader follows: `next`, which holds the
    `until` of the first page, so that a walk ends where it began however much is booked meanwhile.
    """
    after, until, limit = number("after", 0), number("until", HIGHEST_NUMBER), limit_of_a_page()
    with _database().reading() as session:
        account = _visible(session, account_id)
        until = min(until, account.last_sequence)
        last = min(after + limit, until)
        page = [entry_fields(entry) for entry in entries(session, account.id, after, last)]
    fields = {"account_id": account.id, "currency": account.currency, "until": until}
    if last >= until:
        return return_resource({**fields, "transactions": page, "next": None})
    link = transactions_path(account, after=last, limit=limit, until=until)
    fields |= {"transactions": page, "next": link}
    return return_resource(fields, {"Link": f'<{link}>; rel="next"'})


def return_resource(
    fields: Mapping[str, Any], headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """Answer with ``fields``; with 304 alone where who asks has them already (RFC 9110 §13.1.2).

    No shared cache may keep it, as it is somebody's money (`private`, RFC 9111 §5.2.2.7), and its
    owner's must ask before each use (`no-cache`, §5.2.2.4). `no-store` would leave nothing to ask
    about. The tag is of the content itself, so it changes when that does and never else.
    """
    answer = jsonify(fields)
    answer.status_code = status
    answer.headers.update({**(headers or {}), "Cache-Control": "private, no-cache"})
    answer.add_etag()
    answer.make_conditional(request)
    if answer.status_code == HTTPStatus.PRECONDITION_FAILED:
        abort(answer.status_code, "the resource is not the one that If-Match names")
    shown = {name: len(part) if isinstance(part, list) else part for name, part in fields.items()}
    passed(Arrow.RETURN_RESOURCE, status=answer.status_code, parameters=shown)
    return answer


def _found(account: Account | None) -> Account:
    return account or abort(404, "this client has no such account")


def _visible(session: Session, account_id: str) -> Account:
    """Return the account; an id without the shape of one is not looked up: a NUL breaks SQL."""
    if not is_identifier(account_id):
        return _found(None)
    return _found(visible_account(session, verified_token().client_id, account_id))


def _database() -> Database:
    return cast("Database", current_app.extensions["resource_server"])
