from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from resource_server.ledger import post_transfer
from resource_server.ledger_check import BookCheck
from resource_server.models import ENTRY, Account
from shared.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = (
    "debit_account_id, debit_sequence, credit_account_id, credit_sequence, currency, amount,"
    " booked_at, reference"
)


def insertion(what: str) -> str:
    return f"INSERT INTO transfer ({COLUMNS}) {what}"


@pytest.fixture
def small_book(book: Database) -> Database:
    """`a` paid `b` 10, 20 and 30 euros; `usd` paid `usd2` 5 dollars."""
    with book.writing() as session:
        for name, currency in (("a", "EUR"), ("b", "EUR"), ("usd", "USD"), ("usd2", "USD")):
            session.add(Account(id=name, owner=name, currency=currency))
        for amount in (10, 20, 30):
            post(session, "a", "b", amount, "EUR")
        post(session, "usd", "usd2", 5, "USD")
    return book


def post(session: Session, debited: str, credited: str, amount: int, currency: str) -> None:
    post_transfer(
        session,
        debit_account_id=debited,
        credit_account_id=credited,
        amount=amount,
        currency=currency,
        reference=f"{amount}",
        booked_at=NOON,
    )


def findings(book: Database) -> list[str]:
    with book.reading() as session:
        return [str(finding) for finding in BookCheck(session).findings()]


def done(book: Database, statement: str) -> bool:
    """Execute ``statement`` as the service could; tell whether the database took it."""
    try:
        with book.writing() as session:
            session.execute(text(statement))
    except DBAPIError:
        return False
    return True


def test_a_book_that_adds_up_has_no_findings_and_is_counted(small_book: Database) -> None:
    with small_book.reading() as session:
        check = BookCheck(session)

        assert list(check.findings()) == []
        assert (check.accounts, check.entries) == (4, 8)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param(
            "UPDATE account SET balance = balance + 1 WHERE id = 'b'",
            ["account b: the balance is 61, the entries add up to 60"],
            id="a-balance",
        ),
        pytest.param(
            "UPDATE account SET last_sequence = 4 WHERE id = 'b'",
            ["account b: as_of is 4, the last entry has number 3"],
            id="a-last-number",
        ),
        pytest.param(
            "UPDATE transfer SET amount = 21 WHERE amount = 20",
            [
                "account a: the balance is -60, the entries add up to -61",
                "account b: the balance is 60, the entries add up to 61",
            ],
            id="an-amount",
        ),
        pytest.param(
            "DELETE FROM transfer WHERE amount = 20",
            [
                "account a: number 2 is missing",
                "account a: the balance is -60, the entries add up to -40",
                "account b: number 2 is missing",
                "account b: the balance is 60, the entries add up to 40",
            ],
            id="a-transfer-that-was-deleted",
        ),
        pytest.param(
            "UPDATE transfer SET debit_sequence = 7 WHERE amount = 30",
            [
                "account a: 3 to 6 are missing",
                "account a: as_of is 3, the last entry has number 7",
            ],
            id="a-gap",
        ),
        pytest.param(
            "UPDATE transfer SET debit_account_id = 'b', credit_account_id = 'a' WHERE amount = 30",
            [
                "account a: the balance is -60, the entries add up to 0",
                "account b: the balance is 60, the entries add up to 0",
            ],
            id="sides-that-were-swapped",
        ),
        pytest.param(
            insertion(
                "SELECT 'b', 2, 'a', 2, currency, amount, booked_at, reference"
                " FROM transfer WHERE amount = 30"
            ),
            [
                "account a: number 2 is there once too often",
                "account a: the balance is -60, the entries add up to -30",
                "account b: number 2 is there once too often",
                "account b: the balance is 60, the entries add up to 30",
            ],
            id="a-number-on-both-sides",
        ),
    ],
)
def test_what_does_not_add_up_is_said_exactly(
    statement: str, expected: list[str], small_book: Database
) -> None:
    assert done(small_book, statement)

    assert findings(small_book) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfer SET amount = 0",
        "UPDATE transfer SET amount = -amount",
        "UPDATE transfer SET amount = 9007199254740992",
        "UPDATE transfer SET amount = NULL",
        "UPDATE transfer SET amount = amount * 2",
        "UPDATE transfer SET debit_account_id = NULL",
        "UPDATE transfer SET credit_account_id = 'nobody'",
        "UPDATE transfer SET credit_account_id = 'usd' WHERE currency = 'EUR'",
        "UPDATE transfer SET credit_account_id = debit_account_id",
        "UPDATE transfer SET credit_account_id = 'a', debit_account_id = 'b'",
        "UPDATE transfer SET currency = 'USD'",
        "UPDATE transfer SET debit_sequence = 1",
        "UPDATE account SET currency = 'USD'",
        "UPDATE account SET id = 'z' WHERE id = 'a'",
        "UPDATE account SET balance = 10",
        "DELETE FROM account",
        "DELETE FROM account WHERE id = 'a'",
        "DELETE FROM transfer",
        "DELETE FROM transfer WHERE amount > 10",
        "DELETE FROM entry",
        "UPDATE entry SET amount = 1",
        "INSERT INTO entry VALUES ('a', 9, 5, 'b', '2026-03-01', 'one side')",
        insertion("VALUES ('a', 9, NULL, NULL, 'EUR', 5, '2026-03-01', 'one side')"),
        insertion("VALUES ('a', 9, 'usd', 9, 'EUR', 5, '2026-03-01', 'two currencies')"),
        insertion("VALUES ('a', 9, 'b', 9, 'EUR', 5, '2026-03-01', 'past the ledger')"),
    ],
)
def test_no_statement_makes_one_side_of_a_transfer_without_the_other(
    statement: str, small_book: Database
) -> None:
    """Taken or refused, the entries of each currency add up to nothing, and none is nobody's."""
    changed = done(small_book, statement)
    with small_book.reading() as session:
        of_account = select(Account.currency, func.sum(ENTRY.c.amount)).join(
            ENTRY, ENTRY.c.account_id == Account.id
        )
        totals = {int(total) for _, total in session.execute(of_account.group_by(Account.currency))}
        entries = session.scalar(select(func.count()).select_from(ENTRY))
        of_accounts = session.scalar(
            select(func.count()).select_from(ENTRY).join(Account, ENTRY.c.account_id == Account.id)
        )

    assert totals <= {0}
    assert entries == of_accounts
    assert changed == bool(findings(small_book))


def test_what_sqlite_was_told_not_to_look_at_is_found(sqlite_book: Database) -> None:
    with sqlite_book.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        for number, (debited, credited, amount) in enumerate(
            [("nobody", "no-one", 5), ("nobody", "nobody", 5), ("nobody", "no-one", -5)], 1
        ):
            connection.exec_driver_sql(
                insertion("VALUES (?, ?, ?, ?, 'EUR', ?, '2026-03-01', '')"),
                (debited, number, credited, number, amount),
            )
        connection.exec_driver_sql("BEGIN")

    text = "not a positive amount between two accounts of its currency"
    assert findings(sqlite_book) == [f"transfer {number}: {text}" for number in (1, 2, 3)]


def test_payments_that_go_on_do_not_disturb_a_check(small_book: Database) -> None:
    assert done(small_book, "UPDATE account SET balance = 0 WHERE id = 'a'")
    with small_book.reading() as session:
        found = BookCheck(session).findings()
        first = next(found)
        with small_book.writing() as other:
            post(other, "usd", "usd2", 1, "USD")
        rest = list(found)

    assert (first.where, rest) == ("account a", [])
