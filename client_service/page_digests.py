"""How far an account has been read, and digests by which a later reading knows its transactions.

A page is `PAGE` transactions by their numbers, 1 to 500, 501 to 1000 and so on, however long the
bank's own pages are. Its digest is a chain: each transaction is hashed together with the digest
before it, so a page that is read in parts, a few transactions a minute, gets the same digest.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from client_service.bank_answers import BankError, Entry

PAGE = 500


@dataclass(frozen=True, slots=True)
class PageDigest:
    """What the transactions of a page add up to, and their digest; ``last`` ends the page."""

    last: int
    entry_sum: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the transactions of ``source`` have been read, and what they added up to.

    ``page_sum`` and ``page_digest`` are of the page at whose beginning or midst it stands.
    """

    source: str = ""
    sequence: int = 0
    entry_sum: int = 0
    page_sum: int = 0
    page_digest: str = ""

    def page(self) -> PageDigest:
        """Return the page in which the next transaction lies, as far as it was read."""
        return PageDigest(page_end(self.sequence + 1), self.page_sum, self.page_digest)


def page_end(sequence: int) -> int:
    """Return the number that ends the page of the transaction ``sequence``."""
    return -(-sequence // PAGE) * PAGE


def read_on(cursor: Cursor, entries: Iterable[Entry]) -> tuple[Cursor, list[PageDigest]]:
    """Return where ``cursor`` stands after ``entries``, and the pages whose end it passed.

    Raises BankError where the sum is more than the database holds.
    """
    last, entry_sum = cursor.sequence, cursor.entry_sum
    page_sum, digest = cursor.page_sum, cursor.page_digest
    passed: list[PageDigest] = []
    for entry in entries:
        if entry.sequence > page_end(last + 1):  # what should end the page is missing
            passed.append(PageDigest(page_end(last + 1), page_sum, digest))
            page_sum, digest = 0, ""
        last, digest = entry.sequence, _chained(digest, entry)
        entry_sum, page_sum = entry_sum + entry.amount, page_sum + entry.amount
        if last == page_end(last):
            passed.append(PageDigest(last, page_sum, digest))
            page_sum, digest = 0, ""
        if max(abs(entry_sum), abs(page_sum)) >= 2**63:
            detail = "the transactions add up to more than there is money"
            raise BankError("invalid_answer", detail, HTTPStatus.OK)
    return Cursor(cursor.source, last, entry_sum, page_sum, digest), passed


def _chained(digest: str, entry: Entry) -> str:
    texts = entry.counterparty, entry.reference, entry.booked_at
    content = json.dumps([digest, entry.sequence, entry.amount, *texts])
    return hashlib.sha256(content.encode()).hexdigest()
