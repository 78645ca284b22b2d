"""The schedule: which worker may run the job now, and what it may commit (decision 12).

Every replica runs a Scheduler. A tick is due by the wall clock, at the multiples of the interval,
not by when a process started. One conditional UPDATE takes it, and raises the job's fence; the
result is committed under that fence. So a tick is completed once, or recorded as merged into a
later one, however many replicas there are, and one whose owner died is taken over when the lease
ends. A run that somebody asked for takes no tick, but the same lease: a job never overlaps itself.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from sqlalchemy import CursorResult, and_, or_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from client_service.models import Job, Run, database_time, insert_if_absent
from client_service.reconciliation import Cursor
from client_service.runs import Outcome, RunStatus, Trigger
from shared.database import Database

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # where the tick is another worker's, or the database is away
RENEWALS_PER_LEASE = 3
PAUSE_SECONDS = 0.1


class LeaseLostError(Exception):
    """Another worker has taken the job over: what this one did must not be committed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run the job, and the run that was entered for it."""

    run_id: str
    fence: int
    due: int | None
    cursor: Cursor


class Schedule:
    """The row of one job, and what workers may do with it."""

    def __init__(
        self,
        database: Database,
        job: str,
        *,
        interval_seconds: int,
        lease_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._job = job
        self._interval = interval_seconds
        self._lease_seconds = lease_seconds
        self._now = now
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def take_tick(self) -> Lease | None:
        """Take the tick that is due; None where it is done, or another worker has the job."""
        due = self._due()
        is_open = or_(Job.done_due.is_(None), Job.done_due < due)
        not_passed = or_(Job.last_due.is_(None), Job.last_due <= due)
        return self._take(Trigger.SCHEDULE, due, and_(is_open, not_passed))

    def take_now(self, trigger: Trigger) -> Lease | None:
        """Take the job for a run that was asked for; None where another worker has it."""
        return self._take(trigger, None, True)

    def take_soon(
        self, trigger: Trigger, seconds: float, sleep: Callable[[float], None] = time.sleep
    ) -> Lease | None:
        """Take the job as `take_now` does, waiting up to ``seconds`` for who has it."""
        for _ in range(int(seconds / PAUSE_SECONDS)):
            lease = self.take_now(trigger)
            if lease is not None:
                return lease
            sleep(PAUSE_SECONDS)
        return self.take_now(trigger)

    def begin(self, lease: Lease, trace_id: str) -> None:
        """Enter the run's trace: to be done before the first request of the run is sent."""
        with self._database.writing() as session:
            session.execute(update(Run).where(Run.id == lease.run_id).values(trace_id=trace_id))

    def renew(self, lease: Lease) -> None:
        """Lengthen the lease; raise LeaseLostError where another worker has taken the job."""
        with self._database.writing() as session:
            self._change_under(lease, session, lease_end=self._lease_end())

    def finish(self, lease: Lease, outcome: Outcome) -> None:
        """Commit how the run ended, its cursor and its tick, and give the job back.

        Raises LeaseLostError where another worker has taken the job; then nothing is committed.
        """
        with self._database.writing() as session:
            changes: dict[str, object] = {"owner": None, "lease_end": None}
            if lease.due is not None and outcome.status is not RunStatus.INTERRUPTED:
                changes["done_due"] = lease.due
            if outcome.result is not None:
                cursor = outcome.result.cursor
                changes |= {"source": cursor.source, "cursor_sequence": cursor.sequence}
                changes["cursor_sum"] = cursor.entry_sum
            self._change_under(lease, session, **changes)
            session.execute(
                update(Run)
                .where(Run.id == lease.run_id)
                .values(ended=self._now(), **_columns_of(outcome))
            )

    @contextmanager
    def kept(self, lease: Lease) -> Iterator[None]:
        """Renew the lease from a thread of its own while the block runs."""
        over = Event()
        pause = self._lease_seconds / RENEWALS_PER_LEASE
        heart = Thread(target=self.keep, args=(lease, lambda: over.wait(pause)), daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()

    def keep(self, lease: Lease, over: Callable[[], bool]) -> None:
        """Renew the lease until ``over`` returns True (it pauses first), or it is lost."""
        while not over():
            try:
                self.renew(lease)
            except LeaseLostError as error:
                log.warning("%s", error)
                return
            except SQLAlchemyError as error:
                log.warning("could not renew the lease: %s", type(error).__name__)

    def seconds_to_next_try(self) -> float:
        """Return how long to wait before `take_tick` may find something."""
        with self._database.reading() as session:
            job = session.get(Job, self._job)
        due = self._due()
        if job is None or job.done_due is None or job.done_due < due:
            return RETRY_SECONDS
        return max(0.0, due + self._interval - self._now())

    def _due(self) -> int:
        return int(self._now() // self._interval * self._interval)

    def _lease_end(self) -> object:
        return database_time() + self._lease_seconds

    def _take(self, trigger: Trigger, due: int | None, condition: object) -> Lease | None:
        """Take the job and enter its run in one transaction: there is never the one alone."""
        is_free = or_(Job.owner.is_(None), Job.lease_end <= database_time())
        changes = {"owner": self._owner, "lease_end": self._lease_end(), "fence": Job.fence + 1}
        if due is not None:
            changes["last_due"] = due
        with self._database.writing() as session:
            insert_if_absent(session, Job, [{"name": self._job, **_NEW_JOB}])
            taken = session.execute(
                update(Job)
                .where(Job.name == self._job, is_free, condition)  # type: ignore[arg-type]
                .values(changes)
                .execution_options(synchronize_session=False)
            )
            if _row_count(taken) == 0:
                return None
            job = session.get_one(Job, self._job)
            self._mark_interrupted(session)
            run = Run(id=str(uuid.uuid4()), job=self._job, trigger=trigger, due=due)
            run.status, run.started = RunStatus.RUNNING, self._now()
            if due is not None and job.done_due is not None:
                run.merged_ticks = max(0, (due - job.done_due) // self._interval - 1)
                run.merged_since = job.done_due + self._interval if run.merged_ticks else None
            session.add(run)
            cursor = Cursor(job.source, job.cursor_sequence, job.cursor_sum)
            return Lease(run.id, job.fence, due, cursor)

    def _mark_interrupted(self, session: Session) -> None:
        """Mark what a worker left behind that died, or was suspended past its lease."""
        left = update(Run).where(Run.job == self._job, Run.status == RunStatus.RUNNING)
        detail = "its worker stopped before the end; its lease ran out"
        session.execute(
            left.values(
                status=RunStatus.INTERRUPTED, error="interrupted", detail=detail, ended=self._now()
            )
        )

    def _change_under(self, lease: Lease, session: Session, **changes: object) -> None:
        is_ours = and_(Job.name == self._job, Job.fence == lease.fence)
        if _row_count(session.execute(update(Job).where(is_ours).values(changes))) == 0:
            raise LeaseLostError(f"run {lease.run_id}: another worker has taken the job over")


class Scheduler:
    """Takes the ticks, from a thread of its own, and has each of them worked on."""

    def __init__(self, schedule: Schedule, work: Callable[[Lease], object]) -> None:
        self._schedule = schedule
        self._work = work
        self._stopped = Event()
        self._thread = Thread(target=self.run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread: after the fork, as threads do not survive one."""
        self._thread.start()

    def take_no_more(self) -> None:
        """Take no further tick; what is under way goes on."""
        self._stopped.set()

    def stop(self, seconds: float) -> None:
        """Take no further tick, and wait up to ``seconds`` for the run under way."""
        self.take_no_more()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def run(self) -> None:
        """Take tick after tick until stopped."""
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = self.turn()

    def turn(self) -> float:
        """Work on the tick that is due, if it can be taken; return the seconds to the next try."""
        try:
            lease = self._schedule.take_tick()
            if lease is not None:
                self._work(lease)
            return self._schedule.seconds_to_next_try()
        except SQLAlchemyError as error:
            log.warning("the schedule waits for its database: %s", type(error).__name__)
        except Exception:
            # A bug in one run must not end the schedule: it is logged whole, and the next tick
            # is tried.
            log.exception("a run ended in an error nobody expected")
        return RETRY_SECONDS


_NEW_JOB = {"fence": 0, "source": "", "cursor_sequence": 0, "cursor_sum": 0}


def _columns_of(outcome: Outcome) -> dict[str, object]:
    columns: dict[str, object] = {
        "status": outcome.status,
        "error": outcome.error,
        "detail": outcome.detail,
    }
    result = outcome.result
    if result is not None:
        columns |= {"account_id": result.account_id, "currency": result.currency}
        columns |= {"transactions_read": result.transactions_read, "as_of": result.as_of}
        columns |= {"entry_sum": result.entry_sum, "balance": result.balance}
    return columns


def _row_count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
