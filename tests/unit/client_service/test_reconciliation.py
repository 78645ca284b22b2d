from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from client_service.bank_answers import BankError
from client_service.bank_client import BankClient
from client_service.findings import Finding, Kind
from client_service.page_digests import Cursor, PageDigest
from client_service.reconciliation import Progress, Reconciliation, reconcile
from client_service.token_source import TokenSource
from tests.stack.loopback import Asked, LoopbackServer, Reply
from tests.unit.client_service.book import Book

AMOUNTS = [1000, -250, 40, -40, 500]


@pytest.fixture
def bank(
    server: LoopbackServer, session: requests.Session, tokens: Callable[..., TokenSource]
) -> BankClient:
    return BankClient(server.url + "/account", tokens(), session)


@pytest.fixture
def book(server: LoopbackServer) -> Book:
    return Book(server, AMOUNTS, page=2)


class CutOffError(Exception):
    """Stands for kill -9."""


class Client:
    """Reconciles, and keeps its progress from run to run; it may be cut off after some pages."""

    def __init__(self, bank: BankClient) -> None:
        self.bank = bank
        self.progress = Progress()
        self.pages: dict[int, PageDigest] = {}

    def run(self, cut_off_after: int | None = None) -> Reconciliation:
        pages_left = iter(range(cut_off_after)) if cut_off_after is not None else None

        def check() -> None:
            if pages_left is not None and next(pages_left, None) is None:
                raise CutOffError

        result, cursor = reconcile(self.bank, self.progress, self._save, check)
        self.progress = Progress(cursor)
        return result

    def _save(self, progress: Progress, passed: Sequence[PageDigest]) -> None:
        self.progress = progress
        self.pages |= {page.last: page for page in passed}


@pytest.fixture
def client(bank: BankClient) -> Client:
    return Client(bank)


def pages_asked(server: LoopbackServer) -> list[tuple[str, str]]:
    """Return `after` and `until` of each page that was asked for."""
    return [
        (asked.query.get("after", "0"), asked.query["until"])
        for asked in server.asked
        if asked.path == "/transactions"
    ]


def test_transactions_that_add_up_to_the_balance_are_balanced(
    client: Client, server: LoopbackServer, book: Book
) -> None:
    result = client.run()

    assert (result.balanced, result.entry_sum, result.transactions_read) == (True, 1250, 5)
    assert (result.balance, result.as_of) == (book.balance, 5)
    cursor = client.progress.cursor
    assert (cursor.source, cursor.sequence) == (server.url + "/account#acc-1", 5)
    assert client.progress.reading is None
    assert pages_asked(server) == [("0", "5"), ("2", "5"), ("4", "5")]


def test_a_later_run_reads_on_from_the_cursor(
    client: Client, server: LoopbackServer, book: Book
) -> None:
    client.run()
    book.book(-7)

    result = client.run()

    assert (result.balanced, result.transactions_read, result.entry_sum) == (True, 1, 1243)
    assert pages_asked(server)[3:] == [("5", "6")]


@pytest.mark.usefixtures("book")
def test_where_nothing_is_new_no_page_is_read(client: Client, server: LoopbackServer) -> None:
    client.run()

    assert client.run().transactions_read == 0
    assert len(pages_asked(server)) == 3


def test_a_difference_is_told_with_its_range_and_the_cursor_stays(
    client: Client, book: Book
) -> None:
    client.run()
    cursor = client.progress.cursor
    book.book(10, 20)
    book.balance += 50

    result = client.run()

    assert result.findings.listed == (
        Finding(Kind.DIFFERENCE, "acc-1", after=5, until=7, expected=80, found=30),
    )
    assert (result.balanced, result.difference) == (False, 50)
    assert client.progress == Progress(cursor)
    assert str(result.findings.listed[0]) == "transactions 6 to 7 come to 30, and should to 80"
    assert result.sentence == (
        "account acc-1 is off by 50: transactions 6 to 7 come to 30, and should to 80; "
        "2 transactions read (EUR, minor units)"
    )


def test_a_balance_that_changes_without_a_transaction_is_told(client: Client, book: Book) -> None:
    client.run()
    book.balance -= 1

    result = client.run()

    assert [str(finding) for finding in result.findings.listed] == [
        "the balance changed by -1 without a transaction after 5"
    ]


def test_what_was_repaired_at_the_bank_is_balanced_in_the_next_run(
    client: Client, book: Book
) -> None:
    book.balance += 50
    assert not client.run().balanced
    book.balance -= 50

    assert client.run().balanced
    assert client.progress.cursor.sequence == 5


@pytest.mark.parametrize("cut", [1, 2], ids=["after one page", "after two"])
def test_a_run_that_was_cut_off_is_taken_up_after_its_last_page(
    client: Client, server: LoopbackServer, book: Book, cut: int
) -> None:
    with pytest.raises(CutOffError):
        client.run(cut_off_after=cut)
    book.book(7, 8)  # meanwhile the account goes on

    result = client.run()

    assert (result.balanced, result.as_of, result.balance) == (True, 5, 1250)
    assert result.transactions_read == 5 - 2 * cut
    assert [after for after, _until in pages_asked(server)] == ["0", "2", "4"]
    assert client.run().as_of == 7


def test_a_run_that_was_cut_off_and_then_differs_tells_the_whole_range(
    client: Client, book: Book
) -> None:
    book.balance += 1
    with pytest.raises(CutOffError):
        client.run(cut_off_after=2)

    result = client.run()

    assert result.findings.listed == (
        Finding(Kind.DIFFERENCE, "acc-1", after=0, until=5, expected=1251, found=1250),
    )


def test_the_digests_are_the_same_however_the_transactions_came(
    bank: BankClient, server: LoopbackServer
) -> None:
    amounts = [number * 31 % 977 - 400 for number in range(1203)]
    at_once, bit_by_bit = Client(bank), Client(bank)
    Book(server, amounts)
    at_once.run()
    growing = Book(server, [], page=77)
    for start in range(0, 1203, 401):
        growing.book(*amounts[start : start + 401])
        bit_by_bit.run()

    assert at_once.pages == bit_by_bit.pages
    assert sorted(at_once.pages) == [500, 1000]
    assert at_once.progress == bit_by_bit.progress


def test_a_missing_transaction_is_told_with_its_number_though_all_adds_up(
    client: Client, book: Book
) -> None:
    book.remove(2, 3)

    result = client.run()

    assert result.difference == 0
    assert not result.balanced
    assert result.findings.listed == (
        Finding(Kind.MISSING, "acc-1", after=1, until=3, expected=2, found=4),
    )
    assert client.progress.cursor.sequence == 0
    assert "transactions 2 to 3 are missing: 4 came after 1" in str(result.findings.listed[0])


def test_last_transactions_that_do_not_come_are_missing(client: Client, book: Book) -> None:
    book.remove(5)

    result = client.run()

    assert [str(finding) for finding in result.findings.listed] == [
        "transaction 5 is missing: nothing came after 4"
    ]


def test_an_empty_last_page_leaves_all_missing(
    client: Client, server: LoopbackServer, book: Book
) -> None:
    server.reply("/transactions", Reply(document={"transactions": [], "next": None}))

    result = client.run()

    assert result.difference == book.balance
    assert [finding.kind for finding in result.findings.listed] == ["missing", "difference"]


def test_another_account_is_read_from_its_beginning(client: Client, book: Book) -> None:
    client.progress = Progress(Cursor("http://other/account#acc-1", 4, 750))

    assert client.run().transactions_read == 5
    assert client.progress.cursor.entry_sum == book.balance


def test_a_ledger_that_became_shorter_is_told_once_and_read_from_its_beginning(
    client: Client, book: Book
) -> None:
    client.run()
    book.end_at(3)

    told, after_it = client.run(), client.run()

    assert told.findings.listed == (
        Finding(Kind.MISSING, "acc-1", after=3, until=5, expected=4, found=None),
    )
    assert (told.transactions_read, told.difference) == (3, 0)
    assert (after_it.balanced, after_it.transactions_read) == (True, 3)


def test_a_ledger_that_became_shorter_in_the_midst_of_a_reading_is_told(
    client: Client, book: Book
) -> None:
    with pytest.raises(CutOffError):
        client.run(cut_off_after=2)
    book.end_at(4)

    result = client.run()

    assert [finding.kind for finding in result.findings.listed] == [Kind.MISSING]
    assert (result.as_of, result.transactions_read) == (4, 4)


def test_a_shorter_ledger_whose_reading_is_cut_off_is_still_read_from_its_beginning(
    client: Client, book: Book
) -> None:
    client.run()
    book.end_at(4)
    with pytest.raises(CutOffError):
        client.run(cut_off_after=1)

    result = client.run()

    assert (result.transactions_read, result.entry_sum) == (2, book.balance)
    assert [finding.kind for finding in result.findings.listed] == [Kind.MISSING]


@pytest.mark.parametrize(
    "page",
    [
        {"transactions": [{"sequence": 2, "amount": 1}, {"sequence": 1, "amount": 1}]},
        {"transactions": [{"sequence": 1, "amount": 1}, {"sequence": 1, "amount": 1}]},
        {"transactions": [{"sequence": 6, "amount": 1}]},
        {"transactions": [{"sequence": 0, "amount": 1}]},
        {"transactions": [], "next": "/transactions?after=0"},
        {"transactions": [{"sequence": n, "amount": 2**62} for n in (1, 2)]},
        {"transactions": [{"sequence": 1, "amount": 1, "reference": {}}]},
    ],
    ids=[
        "backwards",
        "twice",
        "past as_of",
        "before the cursor",
        "empty, and again empty",
        "more than money",
        "a reference that is no text",
    ],
)
@pytest.mark.usefixtures("book")
def test_pages_that_could_go_on_for_ever_or_count_twice_are_refused(
    client: Client, server: LoopbackServer, page: dict[str, Any]
) -> None:
    server.reply("/transactions", Reply(document=page))

    with pytest.raises(BankError) as caught:
        client.run()

    assert caught.value.code == "invalid_answer"


@pytest.mark.usefixtures("book")
def test_a_page_that_comes_again_is_refused(client: Client, server: LoopbackServer) -> None:
    page = {"transactions": [{"sequence": 1, "amount": 1}], "next": "/transactions?until=5&x=1"}
    server.reply("/transactions", Reply(document=page))

    with pytest.raises(BankError, match="out of order"):
        client.run()


@pytest.mark.usefixtures("book")
def test_empty_pages_without_end_are_refused(client: Client, server: LoopbackServer) -> None:
    def lead_on(asked: Asked) -> Reply:
        turn = int(asked.query.get("turn", 0))
        return Reply(
            document={"transactions": [], "next": f"/transactions?until=5&turn={turn + 1}"}
        )

    server.reply("/transactions", lead_on)

    with pytest.raises(BankError, match="lead nowhere"):
        client.run()


@pytest.mark.usefixtures("book")
def test_each_request_is_a_step(bank: BankClient) -> None:
    steps: list[str] = []

    @contextmanager
    def step(name: str) -> Iterator[None]:
        steps.append(name)
        yield

    reconcile(bank, Progress(), lambda _progress, _passed: None, step=step)

    assert steps == ["read account"] + ["read transactions"] * 3


def test_a_long_way_is_gone_in_long_pages(bank: BankClient, server: LoopbackServer) -> None:
    Book(server, [1] * 1001)

    Client(bank).run()

    assert [after for after, _until in pages_asked(server)] == ["0", "500", "1000"]
