"""The book: who may see which account, its entries, and the one way to move money.

Balance and last sequence number stand in the account's row and change together with it, so a
plain SELECT tells up to which entry the balance counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from resource_server.models import (
    ENTRY,
    EVERY_CLIENT,
    LARGEST_AMOUNT,
    Account,
    AccountAccess,
    Transfer,
)


class LedgerError(Exception):
    """A transfer that the book does not take; the text says why."""


class UnknownAccountError(LedgerError):
    """One of the two accounts does not exist."""


class CurrencyMismatchError(LedgerError):
    """The transfer and its accounts are not all of one currency."""


class InsufficientFundsError(LedgerError):
    """The debited account would fall below its lowest balance."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transfer: what it did to the account, in minor units; negative is a debit."""

    sequence: int
    amount: int
    counterparty: str
    booked_at: datetime
    reference: str


def default_account(session: Session, client_id: str) -> Account | None:
    """Return the account that ``client_id`` means by "my account"; its own wins over all's."""
    return session.scalars(
        select(Account)
        .join(AccountAccess, AccountAccess.account_id == Account.id)
        .where(AccountAccess.client_id.in_((client_id, EVERY_CLIENT)), AccountAccess.is_default)
        .order_by(AccountAccess.client_id == EVERY_CLIENT)
    ).first()


def visible_account(session: Session, client_id: str, account_id: str) -> Account | None:
    """Return the account if it exists and ``client_id`` was given it; the two look alike."""
    return session.scalars(
        select(Account)
        .join(AccountAccess, AccountAccess.account_id == Account.id)
        .where(Account.id == account_id)
        .where(AccountAccess.client_id.in_((client_id, EVERY_CLIENT)))
    ).first()


def entries(session: Session, account_id: str, after: int, last: int) -> Sequence[Entry]:
    """Return the entries numbered ``after`` + 1 to ``last``.

    The numbers have no gaps, so a page is a range of an index, and costs the same anywhere.
    """
    columns = ENTRY.c
    rows = session.execute(
        select(
            columns.sequence,
            columns.amount,
            columns.counterparty,
            columns.booked_at,
            columns.reference,
        )
        .where(columns.account_id == account_id)
        .where(columns.sequence > after, columns.sequence <= last)
        .order_by(columns.sequence)
    )
    return [Entry(*row) for row in rows]


def post_transfer(
    session: Session,
    *,
    debit_account_id: str,
    credit_account_id: str,
    amount: int,
    currency: str,
    reference: str,
    booked_at: datetime,
) -> Transfer:
    """Move ``amount`` minor units from the debited account to the credited one.

    Needs a session that writes. Both accounts are locked first, in the order of their ids, so
    two transfers cannot wait for each other; only then are the sequence numbers given out, so
    that an account's entries become visible in the order of their numbers.

    Raises LedgerError where the book does not take it; nothing has changed then.
    """
    if not 1 <= amount <= LARGEST_AMOUNT:
        raise LedgerError(f"the amount must be from 1 to {LARGEST_AMOUNT} minor units")
    debited, credited = _locked(session, debit_account_id, credit_account_id)
    if not debited.currency == credited.currency == currency:
        raise CurrencyMismatchError(f"the accounts are not both in {currency}")
    if debited.lowest_balance is not None and debited.balance - amount < debited.lowest_balance:
        raise InsufficientFundsError("the account does not hold the amount")
    _book(debited, -amount)
    _book(credited, amount)
    transfer = Transfer(
        debit_account_id=debited.id,
        debit_sequence=debited.last_sequence,
        credit_account_id=credited.id,
        credit_sequence=credited.last_sequence,
        currency=currency,
        amount=amount,
        booked_at=booked_at,
        reference=reference,
    )
    session.add(transfer)
    return transfer


def _locked(session: Session, debit_account_id: str, credit_account_id: str) -> tuple[Account, ...]:
    """Return both accounts as they are now, held until the transaction ends.

    SQLite knows no row locks and needs none: its writing transactions take turns.
    """
    ids = {debit_account_id, credit_account_id}
    locked = session.scalars(
        select(Account)
        .where(Account.id.in_(ids))
        .order_by(Account.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    accounts = {account.id: account for account in locked}
    if len(accounts) != 2:
        raise UnknownAccountError("a transfer needs two accounts that exist")
    return accounts[debit_account_id], accounts[credit_account_id]


def _book(account: Account, change: int) -> None:
    account.balance += change
    account.last_sequence += 1
