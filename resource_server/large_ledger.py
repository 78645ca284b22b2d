"""Fills an account with as many transactions as one likes, to see what a large book costs.

They are the demo's, over and over, a second apart. The rows are written as they are, past
`post_transfer`, and the two accounts brought up to date once, so a million take seconds and not
hours. All is one transaction: the book adds up at every moment, as `ledger verify` tells.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from resource_server.demo_ledger import DEMO_CURRENCY, FIRST_DAY, transaction_of
from resource_server.ledger import CurrencyMismatchError, LedgerError, locked_accounts
from resource_server.models import Account, Transfer

SEED_ACCOUNT: Final = "large-account"
SEED_COUNTER_ACCOUNT: Final = "large-counterparty"
MOST_TRANSACTIONS: Final = 10_000_000
ROWS_AT_A_TIME: Final = 10_000
COLUMNS: Final = [column.name for column in Transfer.__table__.columns if column.name != "id"]


def seed_transactions(session: Session, account_id: str, count: int) -> None:
    """Add ``count`` transactions to an account, which is made if it is not there.

    Raises LedgerError where the account cannot take them.
    """
    account, counter_account = _accounts(session, account_id)
    _write(session, _rows(account, counter_account, count))
    total = sum(transaction_of(number)[0] for number in range(count))
    account.balance += total
    counter_account.balance -= total
    account.last_sequence += count
    counter_account.last_sequence += count


def _accounts(session: Session, account_id: str) -> tuple[Account, Account]:
    if account_id == SEED_COUNTER_ACCOUNT:
        raise LedgerError("this is the account that the others are seeded from")
    for needed in (account_id, SEED_COUNTER_ACCOUNT):
        if session.get(Account, needed) is None:
            session.add(Account(id=needed, owner="Seeded", currency=DEMO_CURRENCY))
    session.flush()
    accounts = locked_accounts(session, account_id, SEED_COUNTER_ACCOUNT)
    if accounts[account_id].currency != DEMO_CURRENCY:
        raise CurrencyMismatchError(f"the account is not in {DEMO_CURRENCY}")
    return accounts[account_id], accounts[SEED_COUNTER_ACCOUNT]


def _rows(account: Account, counter_account: Account, count: int) -> Iterator[dict[str, Any]]:
    """Yield the transactions.

    The first of every thirty comes in and is more than the rest of them, so none overdraws.
    """
    for number in range(count):
        amount, reference = transaction_of(number)
        mine, theirs = ("credit", "debit") if amount > 0 else ("debit", "credit")
        yield {
            f"{mine}_account_id": account.id,
            f"{mine}_sequence": account.last_sequence + number + 1,
            f"{theirs}_account_id": counter_account.id,
            f"{theirs}_sequence": counter_account.last_sequence + number + 1,
            "currency": account.currency,
            "amount": abs(amount),
            "booked_at": FIRST_DAY + timedelta(seconds=number),
            "reference": reference,
        }


def _write(session: Session, rows: Iterator[dict[str, Any]]) -> None:
    """Insert ``rows``; PostgreSQL takes a stream in less than half the time of statements."""
    if session.get_bind().dialect.name == "postgresql":
        _copy(session, rows)
        return
    while chunk := list(islice(rows, ROWS_AT_A_TIME)):
        session.execute(insert(Transfer), chunk)


def _copy(session: Session, rows: Iterator[dict[str, Any]]) -> None:
    connection: Any = session.connection().connection.driver_connection  # psycopg's own
    statement = f"COPY transfer ({', '.join(COLUMNS)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([row[column] for column in COLUMNS])
