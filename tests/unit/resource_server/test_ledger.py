from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from resource_server.ledger import (
    CurrencyMismatchError,
    InsufficientFundsError,
    LedgerError,
    NotCreditableError,
    UnknownAccountError,
    entries,
    post_transfer,
)
from resource_server.models import LARGEST_AMOUNT, Account, Transfer
from shared.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def two_accounts(database: Database) -> Database:
    """`a` holds 100 and cannot be overdrawn, `b` holds nothing and can; `usd` is in dollars."""
    with database.writing() as session:
        session.add(Account(id="a", owner="A", currency="EUR", balance=100, lowest_balance=0))
        session.add(Account(id="b", owner="B", currency="EUR"))
        session.add(Account(id="usd", owner="C", currency="USD", balance=100))
    return database


def post(session: Session, **changes: Any) -> Transfer:
    transfer: Mapping[str, Any] = {
        "debit_account_id": "a",
        "credit_account_id": "b",
        "amount": 30,
        "currency": "EUR",
        "reference": "a gift",
        "booked_at": NOON,
    }
    return post_transfer(session, **{**transfer, **changes})


def standing(database: Database) -> dict[str, tuple[int, int]]:
    with database.reading() as session:
        rows = session.scalars(select(Account).where(Account.id.in_(["a", "b", "usd"])))
        return {account.id: (account.balance, account.last_sequence) for account in rows}


def test_a_transfer_changes_both_balances_and_both_sequences(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        post(session)
        post(session, debit_account_id="b", credit_account_id="a", amount=5)

    assert standing(two_accounts) == {"a": (75, 2), "b": (25, 2), "usd": (100, 0)}


def test_each_side_sees_a_transfer_as_an_entry_of_its_own(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        post(session)
        of_a = entries(session, "a", 0, 10)
        of_b = entries(session, "b", 0, 10)

    assert [(e.sequence, e.amount, e.counterparty, e.reference) for e in (*of_a, *of_b)] == [
        (1, -30, "b", "a gift"),
        (1, 30, "a", "a gift"),
    ]


def test_entries_are_a_range_in_the_order_of_their_numbers(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        for _ in range(6):
            post(session, amount=1)
        found = entries(session, "a", 2, 4)

    assert [entry.sequence for entry in found] == [3, 4]


def test_a_time_is_told_in_utc_whatever_zone_it_was_given_in(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        post(session, booked_at=NOON.astimezone(timezone(timedelta(hours=5))))
    with two_accounts.reading() as session:
        entry = entries(session, "a", 0, 1)[0]

    assert entry.booked_at.isoformat() == "2026-03-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"amount": 101}, InsufficientFundsError, id="more-than-there-is"),
        pytest.param({"amount": 0}, LedgerError, id="nothing"),
        pytest.param({"amount": -1}, LedgerError, id="a-negative-amount"),
        pytest.param({"amount": LARGEST_AMOUNT + 1}, LedgerError, id="beyond-what-json-keeps"),
        pytest.param({"currency": "USD"}, CurrencyMismatchError, id="another-currency"),
        pytest.param({"credit_account_id": "usd"}, NotCreditableError, id="two-currencies"),
        pytest.param({"credit_account_id": "nobody"}, NotCreditableError, id="to-nobody"),
        pytest.param({"debit_account_id": "nobody"}, UnknownAccountError, id="from-nobody"),
        pytest.param({"credit_account_id": "a"}, NotCreditableError, id="to-itself"),
    ],
)
def test_a_transfer_that_is_not_taken_changes_nothing(
    changes: dict[str, Any], error: type[LedgerError], two_accounts: Database
) -> None:
    with two_accounts.writing() as session, pytest.raises(error):
        post(session, **changes)

    assert standing(two_accounts) == {"a": (100, 0), "b": (0, 0), "usd": (100, 0)}


def test_an_account_can_be_emptied_to_its_last_cent(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        post(session, amount=100)

    assert standing(two_accounts)["a"] == (0, 1)


def test_an_account_without_a_lowest_balance_can_go_below_zero(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        post(session, debit_account_id="b", credit_account_id="a", amount=5)

    assert standing(two_accounts)["b"] == (-5, 1)


def test_a_balance_stays_within_what_json_keeps_exact(two_accounts: Database) -> None:
    with two_accounts.writing() as session:
        session.get_one(Account, "a").balance = LARGEST_AMOUNT
        with pytest.raises(NotCreditableError):
            post(session, debit_account_id="b", credit_account_id="a", amount=1)
        session.get_one(Account, "b").balance = -LARGEST_AMOUNT
        with pytest.raises(InsufficientFundsError):
            post(session, debit_account_id="b", credit_account_id="usd", amount=1)


@pytest.mark.parametrize(
    "credited", ["nobody", "usd", "full", "a"], ids=["unknown", "in-dollars", "full", "itself"]
)
@pytest.mark.parametrize("amount", [1, 101], ids=["who-can-pay", "who-cannot"])
def test_a_refusal_does_not_tell_accounts_to_credit_apart(
    credited: str, amount: int, two_accounts: Database
) -> None:
    with two_accounts.writing() as session:
        session.add(Account(id="full", owner="D", currency="EUR", balance=LARGEST_AMOUNT))
        with pytest.raises(LedgerError) as refusal:
            post(session, credit_account_id=credited, amount=amount)

    expected = NotCreditableError if amount == 1 else InsufficientFundsError
    assert type(refusal.value) is expected
    assert credited not in str(refusal.value).split()


def test_a_transfer_counts_from_what_another_session_left(two_accounts: Database) -> None:
    with two_accounts.reading() as stale:
        seen = stale.get_one(Account, "a").balance
        stale.rollback()
        with two_accounts.writing() as session:
            post(session)
        post(stale, amount=1)
        stale.commit()

    assert seen == 100
    assert standing(two_accounts)["a"] == (69, 2)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("amount", "0", id="amount-of-nothing"),
        pytest.param("amount", "-5", id="negative-amount"),
        pytest.param("credit_account_id", "debit_account_id", id="one-account-on-both-sides"),
        pytest.param("credit_account_id", "'nobody'", id="account-that-is-not-there"),
        pytest.param("credit_account_id", "'usd'", id="accounts-of-two-currencies"),
        pytest.param("currency", "'USD'", id="another-currency"),
        pytest.param("debit_sequence", "2", id="sequence-number-given-out-twice"),
    ],
)
def test_the_database_itself_refuses_a_transfer_that_is_no_double_entry(
    column: str, value: str, two_accounts: Database
) -> None:
    with two_accounts.writing() as session:
        post(session, amount=1)
        post(session, amount=1)

    statement = text(
        f"UPDATE transfer SET {column} = {value} WHERE reference = 'a gift' "  # noqa: S608
        "AND debit_sequence = 1"
    )
    with pytest.raises(IntegrityError), two_accounts.writing() as session:
        session.execute(statement)


def test_the_database_itself_refuses_an_overdrawn_account(two_accounts: Database) -> None:
    with pytest.raises(IntegrityError), two_accounts.writing() as session:
        session.execute(text("UPDATE account SET balance = -1 WHERE id = 'a'"))


def test_the_whole_book_adds_up_to_nothing(database: Database) -> None:
    with database.reading() as session:
        assert session.scalar(select(func.sum(Account.balance))) == 0
