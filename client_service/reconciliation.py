"""Reconciliation: checks that the account's transactions add up to its balance.

Reads forward from where the last balanced reading ended, up to the `as_of` of the balance, and
sums what has come since. What has been read is saved page by page, so that a run that is cut off
costs no more than the page in hand; and with it a digest of the transactions, by which the full
audit knows them again.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter

from client_service.bank_answers import Account
from client_service.bank_client import BankClient
from client_service.findings import Finding, Findings, Kind
from client_service.kept_pages import keep_pages
from client_service.page_digests import Cursor, PageDigest
from client_service.task import Report, Task
from client_service.transaction_pages import Reading, Step, missing, pages


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the last balanced reading ended, and the reading that is under way or was cut off."""

    cursor: Cursor = field(default_factory=Cursor)
    reading: Reading | None = None


STORED = TypeAdapter(Progress)
"""The progress as the job keeps it, in JSON."""

Save = Callable[[Progress, Sequence[PageDigest]], None]
"""Keeps the progress and the digests of the pages whose end it passed: both, or neither."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a run came to: amounts in minor units of ``currency``."""

    account_id: str
    currency: str
    balance: int
    as_of: int
    entry_sum: int
    transactions_read: int
    findings: Findings

    @property
    def difference(self) -> int:
        """What the balance has that the transactions do not explain."""
        return self.balance - self.entry_sum

    @property
    def balanced(self) -> bool:
        """Whether everything adds up."""
        return not self.difference and not self.findings

    @property
    def sentence(self) -> str:
        """What a person is told: that all adds up, or what does not."""
        read = f"{self.transactions_read} transactions read"
        if self.balanced:
            balance = f"balance {self.balance} {self.currency} (minor units)"
            return f"account {self.account_id} is balanced; {read}, {balance}"
        what = f"is off by {self.difference}" if self.difference else "is not as it should be"
        others = len(self.findings.listed) + self.findings.unlisted - 1
        more = f"; {others} more finding{'s' if others > 1 else ''}" if others else ""
        told = f"{self.findings.listed[0]}{more}"
        return f"account {self.account_id} {what}: {told}; {read} ({self.currency}, minor units)"

    def fields(self) -> dict[str, object]:
        """Return the result as it is stored with its run and told in JSON."""
        return {
            "account_id": self.account_id,
            "currency": self.currency,
            "transactions_read": self.transactions_read,
            "sum": self.entry_sum,
            "balance": self.balance,
            "as_of": self.as_of,
            "balanced": self.balanced,
            "difference": self.difference,
            "findings": [asdict(finding) for finding in self.findings.listed],
            "unlisted_findings": self.findings.unlisted,
        }


def work_of_reconcile(bank: BankClient, job: str) -> Callable[[Task], Report]:
    """Return the work of ``job``: one reconciliation of the account of ``bank``."""

    def work(task: Task) -> Report:
        def save(progress: Progress, passed: Sequence[PageDigest]) -> None:
            fields = STORED.dump_python(progress, mode="json")
            task.save(fields, lambda session: keep_pages(session, job, passed))

        progress = STORED.validate_python(task.cursor or {})
        result, cursor = reconcile(bank, progress, save, task.check, task.step)
        ended = STORED.dump_python(Progress(cursor), mode="json")
        return Report(result.fields(), result.sentence, result.balanced, ended)

    return work


def reconcile(
    bank: BankClient,
    progress: Progress,
    save: Save,
    check: Callable[[], None] = lambda: None,
    step: Step = lambda _name: nullcontext(),
) -> tuple[Reconciliation, Cursor]:
    """Read the account and its transactions since the cursor, up to the balance's `as_of`.

    A reading that was cut off is taken up where it stood, and led to the `as_of` at which it
    began. Returns the result, and where the next run begins: where something does not add up, that
    is where this one began, to look again.

    Raises BankError and TokenError where something cannot be read.
    """
    with step("read account"):
        account = bank.account()
    source = source_of(bank, account)
    reading = _begun(progress, source, account)
    cursor = _starting_point(progress.cursor, source, reading.target.sequence)
    count = 0
    for entries in pages(bank, account, reading, check, step):
        count += len(entries)
        reading, passed = reading.on(account.account_id, entries)
        save(Progress(progress.cursor, reading), passed)
    reading = reading.at_its_end(account.account_id)
    reading = reading.with_findings(*_difference(account, cursor, reading))
    return result_of(account, reading, count), cursor if reading.findings else reading.reached


def source_of(bank: BankClient, account: Account) -> str:
    """Return what names the account among all that there are."""
    return f"{bank.account_url}#{account.account_id}"


def result_of(account: Account, reading: Reading, count: int) -> Reconciliation:
    """Return what ``reading`` came to, at its end; this run read ``count`` transactions of it."""
    return Reconciliation(
        account_id=account.account_id,
        currency=account.currency,
        balance=reading.target.entry_sum,
        as_of=reading.target.sequence,
        entry_sum=reading.reached.entry_sum,
        transactions_read=count,
        findings=reading.findings,
    )


def _begun(progress: Progress, source: str, account: Account) -> Reading:
    """Return the reading that was cut off, or a new one; tell of a ledger that became shorter.

    Such a ledger is told once, and read from its beginning: it may have been begun anew.
    """
    cut_off = progress.reading
    if cut_off and cut_off.target.source == source and cut_off.target.sequence <= account.as_of:
        return cut_off
    known = [progress.cursor, cut_off.target if cut_off else Cursor()]
    known_end = max((one.sequence for one in known if one.source == source), default=0)
    target = Cursor(source, account.as_of, account.balance)
    reading = Reading(_starting_point(progress.cursor, source, account.as_of), target)
    if known_end <= account.as_of:
        return reading
    lost = missing(account.account_id, account.as_of, known_end, None)
    return reading.with_findings(lost)


def _starting_point(cursor: Cursor, source: str, as_of: int) -> Cursor:
    """Return ``cursor``; of another account, or past the end of this one, its beginning."""
    is_of_it = cursor.source == source and cursor.sequence <= as_of
    return cursor if is_of_it else Cursor(source)


def _difference(account: Account, cursor: Cursor, reading: Reading) -> list[Finding]:
    """Return that what came after ``cursor`` does not explain the balance, if that is so."""
    target, found = reading.target, reading.reached.entry_sum
    if found == target.entry_sum:
        return []
    expected = target.entry_sum - cursor.entry_sum
    return [
        Finding(
            Kind.DIFFERENCE,
            account.account_id,
            cursor.sequence,
            target.sequence,
            expected,
            found - cursor.entry_sum,
        )
    ]
