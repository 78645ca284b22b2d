"""Checks that the whole book adds up, entry by entry, and says what does not.

The database holds by itself that every transfer has two sides. That balances and sequence numbers
follow from the entries it does not hold: `post_transfer` does, and this is its audit. It reads a
stream, so its memory does not grow with the book, and one snapshot, so payments may go on.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from resource_server.models import ENTRY, LARGEST_AMOUNT, Account, Transfer

ROWS_AT_A_TIME: Final = 5_000

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not add up: where, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"

    def fields(self) -> dict[str, str]:
        """Return it for JSON."""
        return asdict(self)


@dataclass(slots=True)
class BookCheck:
    """One check of the book; its counts are right when its findings have been read to the end."""

    session: Session
    accounts: int = 0
    entries: int = 0

    def findings(self) -> Iterator[Finding]:
        """Yield whatever is wrong, while the book is read."""
        self._hold_the_book_still()
        yield from self._transfers_that_are_no_double_entry()
        accounts = select(Account.id, Account.balance, Account.last_sequence).order_by(Account.id)
        for account_id, balance, last_sequence in self._rows(accounts):
            self.accounts += 1
            yield from self._account(account_id, balance, last_sequence)

    def _account(self, account_id: str, balance: int, last_sequence: int) -> Iterator[Finding]:
        where, total, last = f"account {account_id}", 0, 0
        columns = ENTRY.c
        mine = select(columns.sequence, columns.amount).where(columns.account_id == account_id)
        for sequence, amount in self._rows(mine.order_by(columns.sequence)):
            self.entries += 1
            total += amount
            if sequence != last + 1:
                yield Finding(where, _break(last, sequence))
            last = sequence
        if last != last_sequence:
            yield Finding(where, f"as_of is {last_sequence}, the last entry has number {last}")
        if total != balance:
            yield Finding(where, f"the balance is {balance}, the entries add up to {total}")

    def _transfers_that_are_no_double_entry(self) -> Iterator[Finding]:
        """Yield what the constraints refuse: SQLite can be told not to look at them."""
        broken = or_(
            ~Transfer.amount.between(1, LARGEST_AMOUNT),
            Transfer.debit_account_id == Transfer.credit_account_id,
            ~_is_account(Transfer.debit_account_id),
            ~_is_account(Transfer.credit_account_id),
        )
        for (transfer_id,) in self._rows(select(Transfer.id).where(broken).order_by(Transfer.id)):
            text = "not a positive amount between two accounts of its currency"
            yield Finding(f"transfer {transfer_id}", text)

    def _rows(self, statement: Select[*Columns]) -> Iterator[Row[*Columns]]:
        return iter(self.session.execute(statement.execution_options(yield_per=ROWS_AT_A_TIME)))

    def _hold_the_book_still(self) -> None:
        """Read one snapshot; on SQLite every transaction does."""
        if self.session.get_bind().dialect.name == "postgresql":
            snapshot = {"isolation_level": "REPEATABLE READ"}
            self.session.connection(execution_options=snapshot)


def _is_account(account_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return exists().where(Account.id == account_id, Account.currency == Transfer.currency)


def _break(last: int, sequence: int) -> str:
    """Say what is wrong where ``sequence`` does not come right after ``last``."""
    if sequence <= last:
        return f"number {sequence} is there once too often"
    missing = (
        f"number {last + 1} is" if sequence == last + 2 else f"{last + 1} to {sequence - 1} are"
    )
    return f"{missing} missing"
