import pytest
from sqlalchemy import select

from resource_server.large_ledger import SEED_ACCOUNT, SEED_COUNTER_ACCOUNT, seed_transactions
from resource_server.ledger import CurrencyMismatchError, LedgerError, entries
from resource_server.ledger_check import BookCheck
from resource_server.models import Account
from shared.database import Database

COUNT = 10_050  # more than are written at a time


def seeded(book: Database, account_id: str = SEED_ACCOUNT, count: int = COUNT) -> Account:
    with book.writing() as session:
        seed_transactions(session, account_id, count)
    with book.reading() as session:
        assert list(BookCheck(session).findings()) == []
        return session.scalars(select(Account).where(Account.id == account_id)).one()


def test_a_seeded_account_has_its_transactions_and_the_book_adds_up(book: Database) -> None:
    account = seeded(book)
    with book.reading() as session:
        last = entries(session, SEED_ACCOUNT, COUNT - 1, COUNT)

    assert account.last_sequence == COUNT
    assert [(entry.sequence, entry.counterparty) for entry in last] == [
        (COUNT, SEED_COUNTER_ACCOUNT)
    ]


def test_a_second_seed_goes_on_where_the_first_ended(book: Database) -> None:
    first = seeded(book, count=45)
    second = seeded(book, count=45)

    assert (second.last_sequence, second.balance) == (90, 2 * first.balance)


@pytest.mark.parametrize("count", [1, 2, 29, 30, 31, 61])
def test_no_seed_overdraws_an_account(count: int, sqlite_book: Database) -> None:
    with sqlite_book.writing() as session:
        session.add(Account(id="strict", owner="S", currency="EUR", lowest_balance=0))

    assert seeded(sqlite_book, "strict", count).balance > 0


def test_two_accounts_are_seeded_from_one(sqlite_book: Database) -> None:
    of_each = [seeded(sqlite_book, name, 31).last_sequence for name in ("one", "two")]
    with sqlite_book.reading() as session:
        counter = session.get_one(Account, SEED_COUNTER_ACCOUNT)

    assert (of_each, counter.last_sequence) == ([31, 31], 62)


def test_an_account_in_another_currency_is_not_seeded(sqlite_book: Database) -> None:
    with sqlite_book.writing() as session:
        session.add(Account(id="dollars", owner="D", currency="USD"))

    with pytest.raises(CurrencyMismatchError):
        seeded(sqlite_book, "dollars")


def test_the_account_that_the_others_are_seeded_from_is_not(sqlite_book: Database) -> None:
    with pytest.raises(LedgerError):
        seeded(sqlite_book, SEED_COUNTER_ACCOUNT)
