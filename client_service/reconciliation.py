"""Reconciliation: checks that the account's transactions add up to its balance.

Reads forward from where the last balanced reading ended: sums what has come since.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from client_service.bank_answers import Account, BankError, Page
from client_service.bank_client import BankClient
from client_service.task import Fields, Report, Task

Step = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the transactions of ``source`` have been read, and what they added up to."""

    source: str = ""
    sequence: int = 0
    entry_sum: int = 0

    @classmethod
    def of(cls, fields: Fields | None) -> "Cursor":
        """Return the cursor that `fields` of it made; the beginning where there are none."""
        return cls(**fields) if fields else cls()

    def fields(self) -> dict[str, str | int]:
        """Return the cursor as it is stored."""
        return {"source": self.source, "sequence": self.sequence, "entry_sum": self.entry_sum}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The result of a run: all amounts in minor units of ``currency``."""

    account_id: str
    currency: str
    balance: int
    as_of: int
    entry_sum: int
    transactions_read: int
    cursor: Cursor  # where the next run begins

    @property
    def difference(self) -> int:
        """What the balance has that the transactions do not explain; 0 where it is balanced."""
        return self.balance - self.entry_sum

    def report(self) -> Report:
        """Return what a run says that came to this."""
        return Report(self._fields(), self._sentence(), not self.difference, self.cursor.fields())

    def _fields(self) -> dict[str, str | int | bool]:
        return {
            "account_id": self.account_id,
            "currency": self.currency,
            "transactions_read": self.transactions_read,
            "sum": self.entry_sum,
            "balance": self.balance,
            "as_of": self.as_of,
            "balanced": not self.difference,
            "difference": self.difference,
        }

    def _sentence(self) -> str:
        verdict = f"is off by {self.difference}" if self.difference else "is balanced"
        return (
            f"account {self.account_id} {verdict}; {self.transactions_read} transactions read, "
            f"balance {self.balance} {self.currency} (minor units)"
        )


def work_of_reconcile(bank: BankClient) -> Callable[[Task], Report]:
    """Return the work of the job `reconcile`: one reconciliation of the account of ``bank``."""

    def work(task: Task) -> Report:
        cursor = Cursor.of(task.cursor)
        return reconcile(bank, cursor, task.check, task.step).report()

    return work


def reconcile(
    bank: BankClient,
    cursor: Cursor,
    check: Callable[[], None] = lambda: None,
    step: Step = lambda _name: nullcontext(),
) -> Reconciliation:
    """Read the account and its transactions since ``cursor``, up to the balance's `as_of`.

    ``check`` is called before each page and raises where the run may not go on; ``step`` wraps
    each request. Where the sum differs, the cursor stays, and the next run looks again.

    Raises BankError and TokenError where something cannot be read.
    """
    with step("read account"):
        account = bank.account()
    source = f"{bank.account_url}#{account.account_id}"
    if cursor.source != source or cursor.sequence > account.as_of:
        cursor = Cursor(source)  # another account, or a ledger that began anew
    last, entry_sum, count = cursor.sequence, cursor.entry_sum, 0
    link = bank.first_page_link(account, cursor.sequence) if account.as_of > last else None
    while link:
        check()
        with step("read transactions"):
            page = bank.page(link)
        _require_order(page, last, account)
        entry_sum += sum(entry.amount for entry in page.entries)
        count += len(page.entries)
        last = page.entries[-1].sequence if page.entries else last
        link = page.next
    reached = Cursor(source, account.as_of, entry_sum)
    return Reconciliation(
        account_id=account.account_id,
        currency=account.currency,
        balance=account.balance,
        as_of=account.as_of,
        entry_sum=entry_sum,
        transactions_read=count,
        cursor=reached if entry_sum == account.balance else cursor,
    )


def _require_order(page: Page, last: int, account: Account) -> None:
    """Refuse a page that repeats, goes back, goes past `as_of`, or promises more and is empty."""
    for entry in page.entries:
        if not last < entry.sequence <= account.as_of:
            raise BankError("invalid_answer", f"transaction {entry.sequence} is out of order", 200)
        last = entry.sequence
    if page.next and not page.entries:
        raise BankError("invalid_answer", "an empty page has a page after it", 200)
