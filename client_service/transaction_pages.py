"""The walk through an account's transactions, one page of the bank's in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import urlencode

from client_service.bank_answers import Account, BankError, Entry, Page
from client_service.bank_client import BankClient
from client_service.findings import Finding, Findings, Kind
from client_service.page_digests import Cursor, PageDigest, read_on

LONG_WAY = 1000
LONG_PAGE = 500
"""How many transactions a page is to have where more than `LONG_WAY` are to be read."""
MOST_EMPTY_PAGES = 1000
"""In a row: a page is empty where all of its transactions are missing."""

Step = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading under way: how far it has come, where it is to end, and what it found till there.

    ``target`` is the number of the last transaction, and what all up to it should add up to. It
    stays what it was when the reading began, also for the run that continues after a crash.
    """

    reached: Cursor
    target: Cursor
    findings: Findings = field(default_factory=Findings)

    def on(self, account_id: str, entries: Sequence[Entry]) -> tuple["Reading", list[PageDigest]]:
        """Return the reading after ``entries``, and the pages whose end it passed."""
        reached, passed = read_on(self.reached, entries)
        gaps = _gaps(account_id, self.reached.sequence, entries)
        return replace(self, reached=reached, findings=self.findings.plus(*gaps)), passed

    def at_its_end(self, account_id: str) -> "Reading":
        """Return the reading when no more came: what its target promised beyond is missing."""
        last, until = self.reached.sequence, self.target.sequence
        if last >= until:
            return self
        return self.with_findings(missing(account_id, last, until, None))

    def with_findings(self, *findings: Finding) -> "Reading":
        """Return the reading with ``findings`` in addition."""
        return replace(self, findings=self.findings.plus(*findings))


def pages(
    bank: BankClient,
    account: Account,
    reading: Reading,
    check: Callable[[], None],
    step: Step,
) -> Iterator[Sequence[Entry]]:
    """Yield the transactions from where ``reading`` stands up to its target, page by page.

    ``check`` is called before each page and raises where the run may not go on; ``step`` wraps
    each request. Raises BankError and TokenError where something cannot be read.
    """
    last, until = reading.reached.sequence, reading.target.sequence
    link = first_page_link(account, last) if last < min(until, account.as_of) else None
    empty = 0
    while link:
        check()
        with step("read transactions"):
            page = bank.page(link)
        _require_order(page, last, account)
        empty = 0 if page.entries else empty + 1
        if page.next == link or empty > MOST_EMPTY_PAGES:
            raise BankError("invalid_answer", "the pages lead nowhere", HTTPStatus.OK)
        yield [entry for entry in page.entries if entry.sequence <= until]
        last = page.entries[-1].sequence if page.entries else last
        link = page.next if last < until else None


def first_page_link(account: Account, after: int) -> str:
    """Return the link to the transactions of ``account`` that follow number ``after``."""
    query = {"after": after} if after else {}
    query |= {"limit": LONG_PAGE} if account.as_of - after > LONG_WAY else {}
    joint = "&" if "?" in account.transactions else "?"
    return account.transactions + (joint + urlencode(query) if query else "")


def missing(account_id: str, after: int, until: int, came: int | None) -> Finding:
    """Return that there are no transactions above ``after`` and up to ``until``."""
    return Finding(Kind.MISSING, account_id, after, until, expected=after + 1, found=came)


def _gaps(account_id: str, last: int, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Yield the gaps in the numbers: the bank gives them out one by one."""
    for entry in entries:
        if entry.sequence > last + 1:
            yield missing(account_id, last, entry.sequence - 1, entry.sequence)
        last = entry.sequence


def _require_order(page: Page, last: int, account: Account) -> None:
    """Refuse a page that repeats, goes back, or goes past `as_of`."""
    for entry in page.entries:
        if not last < entry.sequence <= account.as_of:
            detail = f"transaction {entry.sequence} is out of order"
            raise BankError("invalid_answer", detail, HTTPStatus.OK)
        last = entry.sequence
