from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from client_service.bank_answers import BankError
from client_service.bank_client import BankClient
from client_service.reconciliation import Cursor, Reconciliation, reconcile
from client_service.token_source import TokenSource
from tests.stack.loopback import LoopbackServer, Reply


@pytest.fixture
def bank(
    server: LoopbackServer, session: requests.Session, tokens: Callable[..., TokenSource]
) -> BankClient:
    return BankClient(server.url + "/account", tokens(), session)


def pages_asked(server: LoopbackServer) -> list[dict[str, str]]:
    return [dict(asked.query) for asked in server.asked if asked.path == "/transactions"]


def with_account(server: LoopbackServer, **changes: Any) -> None:
    members = {"account_id": "acc-1", "currency": "EUR", "balance": 1250, "as_of": 5}
    members |= {"transactions": "/transactions?until=5"}
    server.reply("/account", Reply(document={**members, **changes}))


def test_transactions_that_add_up_to_the_balance_are_balanced(
    bank: BankClient, server: LoopbackServer
) -> None:
    result = reconcile(bank, Cursor())

    assert (result.difference, result.entry_sum, result.transactions_read) == (0, 1250, 5)
    assert result.cursor == Cursor(server.url + "/account#acc-1", 5, 1250)
    assert pages_asked(server) == [
        {"until": "5"},
        {"until": "5", "after": "2"},
        {"until": "5", "after": "4"},
    ]


def test_a_later_run_reads_on_from_the_cursor(bank: BankClient, server: LoopbackServer) -> None:
    cursor = Cursor(server.url + "/account#acc-1", 4, 750)

    result = reconcile(bank, cursor)

    assert (result.difference, result.transactions_read) == (0, 1)
    assert pages_asked(server) == [{"until": "5", "after": "4"}]


def test_where_nothing_is_new_no_page_is_read(bank: BankClient, server: LoopbackServer) -> None:
    result = reconcile(bank, Cursor(server.url + "/account#acc-1", 5, 1250))

    assert (result.difference, result.transactions_read) == (0, 0)
    assert pages_asked(server) == []


def test_a_difference_is_told_and_the_cursor_stays(
    bank: BankClient, server: LoopbackServer
) -> None:
    with_account(server, balance=1300)
    cursor = Cursor(server.url + "/account#acc-1", 4, 750)

    result = reconcile(bank, cursor)

    assert result.difference == 50
    assert result.cursor == cursor


@pytest.mark.parametrize(
    "cursor",
    [Cursor("http://other/account#acc-1", 4, 750), Cursor("", 0, 0)],
    ids=["another account", "none"],
)
def test_another_account_is_read_from_its_beginning(bank: BankClient, cursor: Cursor) -> None:
    assert reconcile(bank, cursor).transactions_read == 5


def test_a_ledger_that_began_anew_is_read_from_its_beginning(
    bank: BankClient, server: LoopbackServer
) -> None:
    result = reconcile(bank, Cursor(server.url + "/account#acc-1", 900, 7))

    assert (result.difference, result.transactions_read) == (0, 5)


@pytest.mark.parametrize(
    "page",
    [
        {"transactions": [{"sequence": 2, "amount": 1}, {"sequence": 1, "amount": 1}]},
        {"transactions": [{"sequence": 1, "amount": 1}, {"sequence": 1, "amount": 1}]},
        {"transactions": [{"sequence": 6, "amount": 1}]},
        {"transactions": [{"sequence": 0, "amount": 1}]},
        {"transactions": [], "next": "/transactions?after=0"},
    ],
    ids=["backwards", "twice", "past as_of", "before the cursor", "empty but not the last"],
)
def test_pages_that_could_go_on_for_ever_or_count_twice_are_refused(
    bank: BankClient, server: LoopbackServer, page: dict[str, Any]
) -> None:
    server.reply("/transactions", Reply(document=page))

    with pytest.raises(BankError) as caught:
        reconcile(bank, Cursor())

    assert caught.value.code == "invalid_answer"


def test_a_page_that_comes_again_is_refused(bank: BankClient, server: LoopbackServer) -> None:
    page = {"transactions": [{"sequence": 1, "amount": 1}], "next": "/transactions"}
    server.reply("/transactions", Reply(document=page))

    with pytest.raises(BankError, match="out of order"):
        reconcile(bank, Cursor())


def test_an_empty_last_page_ends_the_reading(bank: BankClient, server: LoopbackServer) -> None:
    server.reply("/transactions", Reply(document={"transactions": [], "next": None}))

    assert reconcile(bank, Cursor()).difference == 1250


def test_the_run_can_be_ended_before_each_page(bank: BankClient, server: LoopbackServer) -> None:
    allowed = iter([None, None])

    with pytest.raises(StopIteration):
        reconcile(bank, Cursor(), lambda: next(allowed))

    assert len(pages_asked(server)) == 2


def test_each_request_is_a_step(bank: BankClient) -> None:
    steps: list[str] = []

    @contextmanager
    def step(name: str) -> Iterator[None]:
        steps.append(name)
        yield

    reconcile(bank, Cursor(), step=step)

    assert steps == ["read account"] + ["read transactions"] * 3


def test_a_difference_is_reported_and_the_cursor_stays() -> None:
    began = Cursor("http://bank#acc-1", 3, 70)

    report = Reconciliation("acc-1", "EUR", 77, 5, 70, 2, began).report()

    assert (report.is_well, report.result["balanced"], report.result["difference"]) == (
        False,
        False,
        7,
    )
    assert report.sentence.startswith("account acc-1 is off by 7; 2 transactions read")
    assert Cursor.of(report.cursor) == began
