"""The full audit: reads every transaction again, and tells those that are not what they were.

The reconciliation looks at each transaction once. Whoever changes an old one, and the balance
with it, is found here: the transactions are held against the digests that were kept of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial

from pydantic import TypeAdapter

from client_service.bank_client import BankClient
from client_service.findings import Finding, Kind
from client_service.kept_pages import cursor_of, pages_kept
from client_service.page_digests import PAGE, Cursor, PageDigest
from client_service.reconciliation import STORED, Reconciliation, result_of, source_of
from client_service.task import Report, Task
from client_service.transaction_pages import Reading, Step, pages
from shared.database import Database

KeptPages = Callable[[int, int], Sequence[PageDigest]]
"""Tells the digests of the pages that end above one number and up to another."""


NOTHING_TO_AUDIT = "no transaction of this account has been reconciled yet: nothing is audited"

_CUT_OFF: TypeAdapter[Reading | None] = TypeAdapter(Reading | None)


def work_of_full_audit(
    bank: BankClient, database: Database, of_job: str
) -> Callable[[Task], Report]:
    """Return the work of the audit: what the job ``of_job`` has reconciled is read again."""

    def work(task: Task) -> Report:
        def save(reading: Reading) -> None:
            task.save({"reading": _CUT_OFF.dump_python(reading, mode="json")})

        reconciled = STORED.validate_python(cursor_of(database, of_job) or {}).cursor
        cut_off = _CUT_OFF.validate_python((task.cursor or {}).get("reading"))
        kept = partial(pages_kept, database, of_job)
        result = full_audit(bank, reconciled, cut_off, kept, save, task.check, task.step)
        sentence = result.sentence if result.as_of else NOTHING_TO_AUDIT
        return Report(result.fields(), sentence, result.balanced, {"reading": None})

    return work


def full_audit(
    bank: BankClient,
    reconciled: Cursor,
    cut_off: Reading | None,
    kept: KeptPages,
    save: Callable[[Reading], None],
    check: Callable[[], None] = lambda: None,
    step: Step = lambda _name: nullcontext(),
) -> Reconciliation:
    """Read the account from its first transaction to the last that was ``reconciled``.

    An audit that was cut off is taken up where it stood. What has not been reconciled yet, or is
    of another account, is not read: there is nothing to hold it against.

    Raises BankError and TokenError where something cannot be read.
    """
    with step("read account"):
        account = bank.account()
    reading = _begun(reconciled, cut_off, source_of(bank, account))
    name, count = account.account_id, 0
    for entries in pages(bank, account, reading, check, step):
        count += len(entries)
        before = reading.reached.sequence
        reading, passed = reading.on(name, entries)
        expected = kept(before, reading.reached.sequence)
        reading = reading.with_findings(*_changed(name, expected, passed))
        save(reading)
    return result_of(account, _audited_to_the_end(reading, name, kept), count)


def _begun(reconciled: Cursor, cut_off: Reading | None, source: str) -> Reading:
    """Return the audit that was cut off, or a new one."""
    target = reconciled if reconciled.source == source else Cursor(source)
    if cut_off and cut_off.target.source == source and cut_off.target.sequence <= target.sequence:
        return cut_off
    return Reading(Cursor(source), target)


def _audited_to_the_end(reading: Reading, account_id: str, kept: KeptPages) -> Reading:
    """Return the reading with what its last page, and pages that did not come, are held against.

    The last page may be one of which a part alone was reconciled: the target has its digest.
    """
    reached, target = reading.reached, reading.target
    expected = list(kept(reached.sequence, target.sequence))
    if target.sequence % PAGE:
        expected.append(PageDigest(target.sequence, target.page_sum, target.page_digest))
    last = min(reached.page().last, target.sequence)
    found = PageDigest(last, reached.page_sum, reached.page_digest)
    reading = reading.at_its_end(account_id)
    reading = reading.with_findings(*_changed(account_id, expected, [found]))
    if reading.findings or reached.entry_sum == target.entry_sum:
        return reading
    # The digests of some pages were lost, so it cannot be said which page it is.
    sums = target.entry_sum, reached.entry_sum
    return reading.with_findings(Finding(Kind.CHANGED, account_id, 0, target.sequence, *sums))


def _changed(
    account_id: str, expected: Sequence[PageDigest], found: Sequence[PageDigest]
) -> Iterator[Finding]:
    """Yield the pages that are not as ``expected``; one that did not come is an empty one."""
    by_last = {page.last: page for page in found}
    for page in expected:
        now = by_last.get(page.last, PageDigest(page.last))
        if now != page:
            after = (page.last - 1) // PAGE * PAGE
            yield Finding(Kind.CHANGED, account_id, after, page.last, page.entry_sum, now.entry_sum)
