"""The worker: one run from its lease to its result."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event, Thread

from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import SQLAlchemyError

from client_service.bank_answers import BankError
from client_service.bank_client import BankClient
from client_service.reconciliation import Reconciliation, reconcile
from client_service.runs import Outcome, RunStatus
from client_service.schedule import Lease, LeaseLostError, Schedule
from client_service.token_messages import TokenError
from shared.database_outage import is_outage
from shared.service_logging import redacted
from shared.tracing import current_trace_id, span

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The process is stopping: the run ends after the page in hand."""


class Worker:
    """Works on runs; their tokens and connections are kept from run to run."""

    def __init__(self, schedule: Schedule, bank: BankClient, provider: TracerProvider) -> None:
        self._schedule = schedule
        self._bank = bank
        self._provider = provider
        self._stopping = Event()
        self._in_background: Thread | None = None

    def work(self, lease: Lease) -> None:
        """Do the run of ``lease`` within one trace, and store how it ended.

        Its trace is stored before the first request is sent, so that events which other services
        report find the run that they belong to.
        """
        with span(self._provider, "run reconciliation"), self._schedule.kept(lease):
            self._schedule.begin(lease, current_trace_id())
            log.info("run %s started", lease.run_id)
            try:
                outcome = self._outcome(lease)
            except BaseException as error:
                self._finish(lease, _outcome_of_a_bug(error))
                raise
            self._finish(lease, outcome)

    def work_in_background(self, lease: Lease) -> None:
        """Do the run of ``lease`` in a thread of its own."""
        self._in_background = Thread(target=self._work_and_log, args=(lease,), daemon=True)
        self._in_background.start()

    def stop(self, seconds: float) -> None:
        """End the run under way after the page in hand; wait for one in the background."""
        self._stopping.set()
        if self._in_background is not None:
            self._in_background.join(seconds)

    def _work_and_log(self, lease: Lease) -> None:
        try:
            self.work(lease)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and is_outage(error):
                log.error("run %s is cut off: the database does not answer now", lease.run_id)
                return
            log.exception("run %s ended in an error nobody expected", lease.run_id)

    def _outcome(self, lease: Lease) -> Outcome:
        step = _step(self._provider)
        try:
            result = reconcile(self._bank, lease.cursor, self._check, step)
        except (TokenError, BankError) as error:
            told = f"{error.status} {error.code}" if error.status else error.code
            return Outcome(RunStatus.FAILED, error=told[:200], detail=_fit_to_show(error.detail))
        except StoppedError:
            detail = "its process was stopped"
            return Outcome(RunStatus.INTERRUPTED, error="interrupted", detail=detail)
        return Outcome(RunStatus.SUCCEEDED, result)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _finish(self, lease: Lease, outcome: Outcome) -> None:
        try:
            self._schedule.finish(lease, outcome)
        except LeaseLostError as error:
            log.warning("%s: its result is dropped", error)
            return
        if outcome.result is not None:
            _log_result(lease, outcome.result)
        else:
            log.error("run %s %s: %s", lease.run_id, outcome.status, outcome.error)


def _step(provider: TracerProvider) -> Callable[[str], AbstractContextManager[object]]:
    """Return what opens a span for each step of a run.

    A span keeps its last 128 events alone: one span for a long run would forget its beginning.
    """
    return lambda name: span(provider, name)


def _outcome_of_a_bug(error: BaseException) -> Outcome:
    if isinstance(error, Exception):
        return Outcome(RunStatus.FAILED, error="internal_error", detail=type(error).__name__)
    return Outcome(RunStatus.INTERRUPTED, error="interrupted", detail=type(error).__name__)


def _fit_to_show(detail: str) -> str:
    """Return a server's words without what it may have echoed, nor the NUL that SQL refuses."""
    return redacted(detail).replace("\0", "")


def _log_result(lease: Lease, result: Reconciliation) -> None:
    if result.difference:
        log.warning(
            "run %s: account %s is not balanced: %d %s in minor units are unexplained",
            lease.run_id,
            result.account_id,
            result.difference,
            result.currency,
        )
        return
    log.info(
        "run %s succeeded: %d transactions read, account %s is balanced",
        lease.run_id,
        result.transactions_read,
        result.account_id,
    )
