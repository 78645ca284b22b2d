from collections.abc import Callable, Sequence

import pytest
import requests

from client_service.bank_client import BankClient
from client_service.findings import Finding, Kind
from client_service.full_audit import full_audit
from client_service.page_digests import PageDigest
from client_service.reconciliation import Progress, Reconciliation, reconcile
from client_service.token_source import TokenSource
from client_service.transaction_pages import Reading
from tests.stack.loopback import LoopbackServer
from tests.unit.client_service.book import Book

LENGTH = 1203  # two pages and a part of one


class CutOffError(Exception):
    """Stands for kill -9."""


class Auditor:
    """Reconciles once, then audits as often as it is told."""

    def __init__(self, bank: BankClient) -> None:
        self.bank = bank
        self.pages: dict[int, PageDigest] = {}
        self.progress = Progress()
        self.cut_off: Reading | None = None
        self.reconcile()

    def reconcile(self) -> None:
        _result, cursor = reconcile(self.bank, self.progress, self._save)
        self.progress = Progress(cursor)

    def audit(self, cut_off_after: int | None = None) -> Reconciliation:
        pages_left = iter(range(cut_off_after)) if cut_off_after is not None else None

        def check() -> None:
            if pages_left is not None and next(pages_left, None) is None:
                raise CutOffError

        def keep(reading: Reading) -> None:
            self.cut_off = reading

        return full_audit(self.bank, self.progress.cursor, self.cut_off, self._kept, keep, check)

    def _save(self, progress: Progress, passed: Sequence[PageDigest]) -> None:
        self.progress = progress
        self.pages |= {page.last: page for page in passed}

    def _kept(self, after: int, until: int) -> list[PageDigest]:
        return [page for last, page in sorted(self.pages.items()) if after < last <= until]


@pytest.fixture
def book(server: LoopbackServer) -> Book:
    return Book(server, [number * 31 % 977 - 400 for number in range(LENGTH)])


@pytest.fixture
def auditor(
    server: LoopbackServer,
    session: requests.Session,
    tokens: Callable[..., TokenSource],
    book: Book,
) -> Auditor:
    assert book.as_of == LENGTH
    return Auditor(BankClient(server.url + "/account", tokens(), session))


def sum_of(book: Book, first: int, last: int) -> int:
    numbers = range(first, last + 1)
    return sum(book.transactions[one]["amount"] for one in numbers if one in book.transactions)


def test_a_book_as_it_was_passes_the_audit(auditor: Auditor, book: Book) -> None:
    result = auditor.audit()

    assert (result.balanced, result.transactions_read) == (True, LENGTH)
    assert (result.balance, result.entry_sum, result.as_of) == (book.balance, book.balance, LENGTH)


@pytest.mark.parametrize(
    ("sequence", "after", "until"),
    [(1, 0, 500), (500, 0, 500), (501, 500, 1000), (1000, 500, 1000), (LENGTH, 1000, LENGTH)],
    ids=["the first", "end of a page", "start of a page", "end of the second", "the last"],
)
def test_an_old_amount_that_was_changed_is_told_with_its_range(
    auditor: Auditor, book: Book, sequence: int, after: int, until: int
) -> None:
    was = sum_of(book, after + 1, until)
    book.falsify(sequence, amount=9999)

    result = auditor.audit()

    now = sum_of(book, after + 1, until)
    assert result.findings.listed == (
        Finding(Kind.CHANGED, "acc-1", after, until, expected=was, found=now),
    )
    assert result.difference == was - now


@pytest.mark.parametrize("member", ["counterparty", "reference", "booked_at"])
def test_an_old_transaction_that_says_something_else_is_told_though_all_adds_up(
    auditor: Auditor, book: Book, member: str
) -> None:
    book.falsify(700, **{member: "something else"})

    result = auditor.audit()

    assert result.difference == 0
    assert [(one.kind, one.after, one.until) for one in result.findings.listed] == [
        (Kind.CHANGED, 500, 1000)
    ]


def test_two_amounts_that_were_exchanged_are_told(auditor: Auditor, book: Book) -> None:
    first, second = book.transactions[3], book.transactions[4]
    book.falsify(3, amount=second["amount"])
    book.falsify(4, amount=first["amount"])

    assert [one.until for one in auditor.audit().findings.listed] == [500]


def test_an_old_transaction_that_is_missing_is_told_with_its_number(
    auditor: Auditor, book: Book
) -> None:
    was = sum_of(book, 501, 1000)
    book.remove(700)

    now = sum_of(book, 501, 1000)
    assert auditor.audit().findings.listed == (
        Finding(Kind.MISSING, "acc-1", after=699, until=700, expected=700, found=701),
        Finding(Kind.CHANGED, "acc-1", after=500, until=1000, expected=was, found=now),
    )


@pytest.mark.parametrize(
    ("first", "last", "ends"),
    [(1, 3, [500]), (499, 502, [1000]), (400, 1100, [LENGTH]), (501, 1000, [1000])],
    ids=["the first ones", "over a page's end", "more than a page", "a page"],
)
def test_old_transactions_that_are_missing_are_one_range(
    auditor: Auditor, book: Book, first: int, last: int, ends: list[int]
) -> None:
    book.remove(*range(first, last + 1))

    gap, *changed = auditor.audit().findings.listed

    assert (gap.kind, gap.after + 1, gap.until) == (Kind.MISSING, first, last)
    assert [(one.kind, one.until) for one in changed] == [(Kind.CHANGED, end) for end in ends]


@pytest.mark.parametrize("end", [1000, 1100, 700, 500, 1], ids=str)
def test_a_ledger_that_became_shorter_is_told_with_what_is_missing(
    auditor: Auditor, book: Book, end: int
) -> None:
    book.end_at(end)

    gap, changed = auditor.audit().findings.listed

    assert (gap.kind, gap.after, gap.until, gap.found) == (Kind.MISSING, end, LENGTH, None)
    assert (changed.kind, changed.until) == (Kind.CHANGED, LENGTH)
    assert changed.after == end // 500 * 500


def test_a_book_that_was_exchanged_is_one_range(auditor: Auditor, book: Book) -> None:
    for number in range(1, LENGTH + 1):
        book.falsify(number, reference="another book")

    assert [(one.after, one.until) for one in auditor.audit().findings.listed] == [(0, LENGTH)]


def test_an_audit_that_was_cut_off_is_taken_up_after_its_last_page_with_what_it_found(
    auditor: Auditor, book: Book, server: LoopbackServer
) -> None:
    book.falsify(2, reference="changed early")
    book.falsify(LENGTH, reference="changed late")
    with pytest.raises(CutOffError):
        auditor.audit(cut_off_after=2)
    book.book(5)  # the account goes on, and is reconciled
    auditor.reconcile()
    asked_before = len(server.asked)

    result = auditor.audit()

    assert [(one.after, one.until) for one in result.findings.listed] == [(0, 500), (1000, LENGTH)]
    assert result.transactions_read == LENGTH - 1000
    assert len(server.asked) - asked_before == 4


def test_what_was_not_reconciled_yet_is_not_held_against_anything(
    auditor: Auditor, book: Book
) -> None:
    book.book(*[1] * 400)

    result = auditor.audit()

    assert (result.balanced, result.transactions_read) == (True, LENGTH)


def test_before_the_first_reconciliation_an_audit_reads_no_page(auditor: Auditor) -> None:
    auditor.progress = Progress()

    result = auditor.audit()

    assert (result.balanced, result.transactions_read, result.as_of) == (True, 0, 0)
