"""What a client asks for in the body of `POST /payments`, read strictly.

A member that is unknown is refused: a misspelt `debit_account_id` would pay from another account.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from flask import Request, abort, json
from werkzeug.exceptions import UnsupportedMediaType

from resource_server.issuer_keys import json_object
from resource_server.models import LARGEST_AMOUNT
from shared.identifiers import is_identifier
from shared.whole_body import whole_body

MEDIA_TYPE: Final = "application/json"
LONGEST_REFERENCE: Final = 140

_MEMBERS = frozenset({"debit_account_id", "credit_account_id", "amount", "currency", "reference"})
_CURRENCY = re.compile(r"[A-Z]{3}")


class MalformedOrderError(ValueError):
    """The body is no payment order; the text says which member is wrong."""


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """A payment as it was asked for; without an account to debit it is the client's default."""

    debit_account_id: str | None
    credit_account_id: str
    amount: int
    currency: str
    reference: str

    def digest(self) -> str:
        """Return the SHA-256 of what is asked for, however it was spelt in JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def read_order(request: Request) -> PaymentOrder:
    """Return the order in the body of ``request``; answer 415, 413 or 400 where there is none."""
    if request.mimetype != MEDIA_TYPE:
        raise _NotJson(f"the body must be {MEDIA_TYPE}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise _Encoded("the body must not be compressed")
    try:
        return parse_order(whole_body(request))
    except MalformedOrderError as error:
        abort(400, str(error))


def parse_order(body: bytes) -> PaymentOrder:
    """Return the order in ``body``: one JSON object, no member twice (RFC 8259 §4).

    Raises MalformedOrderError.
    """
    try:
        members = json_object(body)
    except ValueError as error:
        raise MalformedOrderError("the body must be one well-formed JSON object") from error
    if not members.keys() <= _MEMBERS:
        raise MalformedOrderError(f"the members are {', '.join(sorted(_MEMBERS))}, and no other")
    named = "debit_account_id" in members
    return PaymentOrder(
        debit_account_id=_account_id(members, "debit_account_id") if named else None,
        credit_account_id=_account_id(members, "credit_account_id"),
        amount=_amount(members),
        currency=_currency(members),
        reference=_reference(members),
    )


def _account_id(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not is_identifier(value):
        raise MalformedOrderError(f"{name} must be the id of an account")
    return value


def _amount(members: Mapping[str, Any]) -> int:
    """Return the amount: an integer; to Python, True is one as well."""
    value = members.get("amount")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_AMOUNT:
        raise MalformedOrderError(
            f"amount must be an integer of minor units, from 1 to {LARGEST_AMOUNT}"
        )
    return value


def _currency(members: Mapping[str, Any]) -> str:
    value = members.get("currency")
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise MalformedOrderError("currency must be three capital letters, as EUR")
    return value


def _reference(members: Mapping[str, Any]) -> str:
    """Return the reference: printable, as NUL and lone surrogates break a database."""
    value = members.get("reference")
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_REFERENCE:
        raise MalformedOrderError(f"reference must be text of 1 to {LONGEST_REFERENCE} characters")
    if not value.isprintable():
        raise MalformedOrderError("reference must be printable text")
    return value


class _NotJson(UnsupportedMediaType):
    """415, and what would be taken (RFC 9110 §15.5.16)."""

    def get_headers(self, *arguments: Any) -> list[tuple[str, str]]:
        """Return the headers of the answer."""
        return [*super().get_headers(*arguments), ("Accept", MEDIA_TYPE)]


class _Encoded(UnsupportedMediaType):
    """The same for a content coding, of which none is taken."""

    def get_headers(self, *arguments: Any) -> list[tuple[str, str]]:
        """Return the headers of the answer."""
        return [*super().get_headers(*arguments), ("Accept-Encoding", "identity")]
