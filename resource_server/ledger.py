"""The book: who may see which account, its entries, and the one way to move money.

Balance and last sequence number stand in the account's row and change together with it, so a
plain SELECT tells up to which entry the balance counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
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
    """There is no account to debit."""


class CurrencyMismatchError(LedgerError):
    """The debited account is not in the currency of the transfer."""


class InsufficientFundsError(LedgerError):
    """The debited account would fall below its lowest balance."""


class NotCreditableError(LedgerError):
    """The account to credit does not exist, or cannot take the transfer."""


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
    return session.scalars(_visible_to(client_id).where(Account.id == account_id)).first()


def visible_accounts(session: Session, client_id: str, after: str, limit: int) -> Sequence[Account]:
    """Return the first ``limit`` accounts of ``client_id`` whose ids follow ``after``."""
    visible = _visible_to(client_id).where(Account.id > after)
    return session.scalars(visible.order_by(Account.id).limit(limit)).all()


def _visible_to(client_id: str) -> Select[Account]:
    clients = (client_id, EVERY_CLIENT)
    given = select(AccountAccess.account_id).where(AccountAccess.client_id.in_(clients))
    return select(Account).where(Account.id.in_(given))


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

    The account to credit is judged last, and says no for one reason whatever is the matter with
    it: who could not pay learns nothing of other people's accounts.

    Raises LedgerError where the book does not take it; nothing has changed then.
    """
    if not 1 <= amount <= LARGEST_AMOUNT:
        raise LedgerError(f"the amount must be from 1 to {LARGEST_AMOUNT} minor units")
    accounts = locked_accounts(session, debit_account_id, credit_account_id)
    debited, credited = accounts.get(debit_account_id), accounts.get(credit_account_id)
    if debited is None:
        raise UnknownAccountError("there is no such account to debit")
    if debited.currency != currency:
        raise CurrencyMismatchError(f"the account is in {debited.currency}")
    if debited.balance - amount < _lowest_balance(debited):
        raise InsufficientFundsError("the account does not hold the amount")
    if credited is None or not _can_take(credited, debited, amount):
        raise NotCreditableError("no account of this id can be credited with this")
    return _booked(session, debited, credited, amount, reference, booked_at)


def _booked(
    session: Session,
    debited: Account,
    credited: Account,
    amount: int,
    reference: str,
    booked_at: datetime,
) -> Transfer:
    _change(debited, -amount)
    _change(credited, amount)
    transfer = Transfer(
        debit_account_id=debited.id,
        debit_sequence=debited.last_sequence,
        credit_account_id=credited.id,
        credit_sequence=credited.last_sequence,
        currency=debited.currency,
        amount=amount,
        booked_at=booked_at,
        reference=reference,
    )
    session.add(transfer)
    return transfer


def locked_accounts(session: Session, *account_ids: str) -> dict[str, Account]:
    """Return those of the accounts that exist, as they are now, held until the transaction ends.

    SQLite knows no row locks and needs none: its writing transactions take turns.
    """
    found = session.scalars(
        select(Account)
        .where(Account.id.in_(account_ids))
        .order_by(Account.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {account.id: account for account in found}


def _lowest_balance(account: Account) -> int:
    """Return the account's limit; a balance stays within what every JSON parser keeps exact."""
    lowest = -LARGEST_AMOUNT
    return lowest if account.lowest_balance is None else max(lowest, account.lowest_balance)


def _can_take(credited: Account, debited: Account, amount: int) -> bool:
    is_another = credited.id != debited.id and credited.currency == debited.currency
    return is_another and credited.balance + amount <= LARGEST_AMOUNT


def _change(account: Account, change: int) -> None:
    account.balance += change
    account.last_sequence += 1
