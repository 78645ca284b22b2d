"""What comes back at the end of arrow 5: the bank's answers, judged before they are used."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

from client_service.bearer_auth import bearer_error, origin_of
from client_service.retries import RequestFailedError
from client_service.token_messages import json_object, seconds_to_wait, told_by

LONGEST_TEXT = 2000


class BankError(RequestFailedError):
    """The bank gave no content.

    ``code`` is the error code of RFC 6750 §3.1 where there is one, else the name of the status,
    or one of ours: `no_answer`, `invalid_answer`, `foreign_link`.
    """


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the moment of ``as_of``, the number of the last transaction in its balance."""

    account_id: str
    currency: str
    balance: int  # minor units
    as_of: int
    transactions: str  # the link to them


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction as it concerns the account: what it adds, or takes where it is negative."""

    sequence: int
    amount: int  # minor units
    counterparty: str | None = None
    reference: str | None = None
    booked_at: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some transactions, in the order of their numbers, and the link to those that follow."""

    entries: tuple[Entry, ...]
    next: str | None


def content_in(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer; raise BankError where it is a refusal or none."""
    answer = json_object(body)
    if status != HTTPStatus.OK:
        detail = told_by(answer.get("detail") or answer.get("title") or "no problem was described")
        wait = seconds_to_wait(headers, time.time())
        raise BankError(bearer_error(headers) or _name_of(status), detail, status, wait)
    if not answer:
        raise BankError("invalid_answer", "the bank answered no JSON object", status)
    return answer


def account_in(answer: dict[str, Any]) -> Account:
    """Return the account in an answer; raise BankError where a member is missing or no such."""
    return Account(
        account_id=_text(answer, "account_id"),
        currency=_text(answer, "currency"),
        balance=_integer(answer, "balance"),
        as_of=_integer(answer, "as_of"),
        transactions=_text(answer, "transactions"),
    )


def page_in(answer: dict[str, Any]) -> Page:
    """Return the page in an answer; raise BankError where it is none."""
    listed = answer.get("transactions")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise BankError("invalid_answer", "`transactions` is no list of objects", HTTPStatus.OK)
    entries = tuple(_entry(entry) for entry in listed)
    return Page(entries, None if answer.get("next") is None else _text(answer, "next"))


def own_url(account_url: str, link: str) -> str:
    """Return a link in an answer as a URL of the bank's own origin: the token is for no other."""
    try:
        url = urljoin(account_url, link)
        if origin_of(url) == origin_of(account_url):
            return url
    except ValueError:
        pass  # no URL at all
    raise BankError("foreign_link", "a link of the bank leads to another origin")


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= LONGEST_TEXT:
        raise BankError("invalid_answer", f"`{name}` is no text, or too long", HTTPStatus.OK)
    return value


def _integer(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    # A truth value is an int to Python; 63 bits are what the database holds.
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise BankError("invalid_answer", f"`{name}` is no whole number", HTTPStatus.OK)
    return value


def _entry(answer: dict[str, Any]) -> Entry:
    """Return the transaction in ``answer``; another API may say less of it than our bank does."""
    numbers = _integer(answer, "sequence"), _integer(answer, "amount")
    texts = [answer.get(name) for name in ("counterparty", "reference", "booked_at")]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise BankError("invalid_answer", "a transaction is described by no text", HTTPStatus.OK)
    return Entry(*numbers, *texts)


def _name_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"
