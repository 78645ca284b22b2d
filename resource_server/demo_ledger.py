"""The demo's data: one account with a year of transactions, open to every client.

The same at every run, so that documents and tests can name the figures.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from resource_server.ledger import post_transfer
from resource_server.models import EVERY_CLIENT, Account, AccountAccess

DEMO_ACCOUNT: Final = "demo-account"
DEMO_COUNTER_ACCOUNT: Final = "demo-counterparty"
DEMO_CURRENCY: Final = "EUR"
DEMO_DAYS: Final = 365
FIRST_DAY: Final = datetime(2025, 1, 1, 9, 0, tzinfo=UTC)


def seed_demo(session: Session) -> bool:
    """Put the demo's data into the book; tell whether there was anything to do."""
    if session.get(Account, DEMO_ACCOUNT) is not None:
        return False
    session.add_all(
        [
            Account(
                id=DEMO_ACCOUNT,
                owner="Example Trading Ltd",
                currency=DEMO_CURRENCY,
                lowest_balance=0,
            ),
            # All the demo's money comes from here and goes here: it has no lowest balance.
            Account(id=DEMO_COUNTER_ACCOUNT, owner="Everybody else", currency=DEMO_CURRENCY),
        ]
    )
    session.flush()
    session.add(AccountAccess(client_id=EVERY_CLIENT, account_id=DEMO_ACCOUNT, is_default=True))
    for day in range(DEMO_DAYS):
        _book_day(session, day)
    return True


def _book_day(session: Session, day: int) -> None:
    amount, reference = transaction_of(day)
    comes_in = amount > 0
    post_transfer(
        session,
        debit_account_id=DEMO_COUNTER_ACCOUNT if comes_in else DEMO_ACCOUNT,
        credit_account_id=DEMO_ACCOUNT if comes_in else DEMO_COUNTER_ACCOUNT,
        amount=abs(amount),
        currency=DEMO_CURRENCY,
        reference=reference,
        booked_at=FIRST_DAY + timedelta(days=day),
    )


def transaction_of(day: int) -> tuple[int, str]:
    """Return what happens on ``day``: an amount in cents, and what it was for."""
    day_of_month = day % 30
    if day_of_month == 0:
        return 320_000, f"invoice {1 + day // 30:03d}"
    if day_of_month == 1:
        return -95_000, "rent"
    return -(500 + day * 7919 % 4500), f"supplies {day:03d}"
