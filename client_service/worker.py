"""The worker: one run from its lease to its result."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from threading import Event, Thread

from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import SQLAlchemyError

from client_service.bank_answers import BankError
from client_service.jobs import RegisteredJob
from client_service.lease_keeper import LeaseKeeper
from client_service.models import Run
from client_service.runs import Outcome, RunStatus, Trigger, columns_of
from client_service.schedule import Lease, LeaseLostError, Schedule
from client_service.task import Report, StoppedError, Task
from client_service.token_messages import TokenError
from shared.database_outage import is_outage
from shared.service_logging import redacted
from shared.tracing import current_trace_id, span

log = logging.getLogger(__name__)


class Worker:
    """Works on runs; their tokens and connections are kept from run to run.

    ``ended`` is told of each run whose end was stored. Once ``stopping`` is set, runs end: before
    the next page here, and where they wait in whatever else was given it.
    """

    def __init__(
        self,
        jobs: Mapping[str, RegisteredJob],
        schedules: Mapping[str, Schedule],
        provider: TracerProvider,
        ended: Callable[[Lease, Outcome], None] = lambda _lease, _outcome: None,
        stopping: Event | None = None,
    ) -> None:
        self._ended = ended
        self._jobs = jobs
        self._schedules = schedules
        self._provider = provider
        self._stopping = stopping or Event()
        self._in_background: Thread | None = None

    def work(self, lease: Lease) -> None:
        """Do the run of ``lease`` within one trace, and store how it ended.

        Its trace is stored before the first request is sent, so that events which other services
        report find the run that they belong to.
        """
        schedule = self._schedules[lease.job]
        keeper = LeaseKeeper(schedule, lease)
        with span(self._provider, f"run {lease.job}"), keeper.keeping():
            schedule.begin(lease, current_trace_id())
            log.info("run %s of %s started", lease.run_id, lease.job)
            try:
                self._finish(lease, self._outcome(lease.job, self._task(lease, keeper)))
            except LeaseLostError as error:
                log.warning("%s: its result is dropped", error)
            except BaseException as error:
                self._finish_after(lease, error)
                raise

    def try_out(self, job: str) -> Run:
        """Do a run of ``job`` that takes no lease, is entered nowhere and saves nothing."""
        state = self._schedules[job].state()
        run = Run(job=job, trigger=Trigger.COMMAND, merged_ticks=0, started=time.time())
        with span(self._provider, f"dry run {job}"):
            run.trace_id = current_trace_id()
            task = Task(state.cursor if state else None, None, self._check, _step(self._provider))
            for column, value in columns_of(self._outcome_whatever_comes(job, task)).items():
                setattr(run, column, value)
        run.ended = time.time()
        return run

    def work_in_background(self, lease: Lease) -> None:
        """Do the run of ``lease`` in a thread of its own."""
        self._in_background = Thread(target=self._work_and_log, args=(lease,), daemon=True)
        self._in_background.start()

    def take_no_page_more(self) -> None:
        """Let the runs under way end after the page in hand."""
        self._stopping.set()

    def stop(self, seconds: float) -> None:
        """End the runs under way after the page in hand; wait for one in the background."""
        self.take_no_page_more()
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

    def _task(self, lease: Lease, keeper: LeaseKeeper) -> Task:
        def check() -> None:
            keeper.check()
            self._check()

        save = partial(self._schedules[lease.job].save, lease)
        return Task(lease.cursor, lease.due, check, _step(self._provider), save)

    def _outcome(self, job: str, task: Task) -> Outcome:
        try:
            report = self._jobs[job].work(task)
        except (TokenError, BankError) as error:
            told = f"{error.status} {error.code}" if error.status else error.code
            return Outcome(RunStatus.FAILED, error=told[:200], detail=redacted(error.detail))
        except StoppedError:
            detail = "its process was stopped"
            return Outcome(RunStatus.INTERRUPTED, error="interrupted", detail=detail)
        return Outcome(RunStatus.SUCCEEDED, report)

    def _outcome_whatever_comes(self, job: str, task: Task) -> Outcome:
        try:
            return self._outcome(job, task)
        except SQLAlchemyError:
            raise
        except Exception as error:
            log.exception("the dry run ended in an error nobody expected")
            return _outcome_after(error)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _finish(self, lease: Lease, outcome: Outcome) -> None:
        self._schedules[lease.job].finish(lease, outcome)
        self._ended(lease, outcome)
        if outcome.report is not None:
            _log_report(lease, outcome.report)
        else:
            log.error("run %s %s: %s", lease.run_id, outcome.status, outcome.error)

    def _finish_after(self, lease: Lease, error: BaseException) -> None:
        try:
            self._finish(lease, _outcome_after(error))
        except LeaseLostError as lost:
            log.warning("%s: how it ended is dropped", lost)


def _step(provider: TracerProvider) -> Callable[[str], AbstractContextManager[object]]:
    """Return what opens a span for each step of a run.

    A span keeps its last 128 events alone: one span for a long run would forget its beginning.
    """
    return lambda name: span(provider, name)


def _outcome_after(error: BaseException) -> Outcome:
    """Return how a run ended that ``error`` cut off; after an outage its tick is taken again."""
    name = type(error).__name__
    if isinstance(error, SQLAlchemyError) and is_outage(error):
        return Outcome(RunStatus.INTERRUPTED, error="database_away", detail=name)
    if isinstance(error, Exception):
        return Outcome(RunStatus.FAILED, error="internal_error", detail=name)
    return Outcome(RunStatus.INTERRUPTED, error="interrupted", detail=name)


def _log_report(lease: Lease, report: Report) -> None:
    level = logging.INFO if report.is_well else logging.WARNING
    log.log(level, "run %s succeeded: %s", lease.run_id, report.sentence)
