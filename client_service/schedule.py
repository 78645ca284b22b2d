"""The schedule: which worker may run a job now, and what it may commit (decision 12).

A tick is due by the wall clock, not by when a process started. One conditional UPDATE takes it, and
raises the job's fence; cursor and result are committed under that fence. So a tick is completed
once, or recorded as merged into a later one, however many replicas there are, and one whose owner
died is taken over when the lease ends. A run that somebody asked for takes no tick, but the same
lease: a job never overlaps itself.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, CursorResult, and_, or_, true, update
from sqlalchemy.orm import Session

from client_service.models import Job, Run, database_time, insert_if_absent
from client_service.runs import Outcome, RunStatus, Trigger, columns_of
from client_service.task import Fields
from client_service.ticks import NONE_MISSED, Missed, Ticks
from shared.database import Database

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # at most, where the tick is another worker's
RETRIES_PER_LEASE = 3
LONGEST_PAUSE_SECONDS = 60.0  # so that a clock that was set, or a machine that slept, is noticed
CLOCK_DIFFERENCE_SECONDS = 5
PAUSE_SECONDS = 0.1


class LeaseLostError(Exception):
    """Another worker has taken the job over: what this one did must not be committed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run the job, and the run that was entered for it."""

    job: str
    run_id: str
    fence: int
    due: int | None
    cursor: Fields | None
    merged_ticks: int = 0
    taken_at: float = field(default_factory=time.monotonic)


class Schedule:
    """The row of one job, and what workers may do with it."""

    def __init__(
        self,
        database: Database,
        job: str,
        *,
        ticks: Ticks | None,
        lease_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.job, self.ticks, self.lease_seconds = job, ticks, lease_seconds
        self.retry_seconds = min(RETRY_SECONDS, lease_seconds / RETRIES_PER_LEASE)
        self._database = database
        self._now = now
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def state(self) -> Job | None:
        """Return the job's row; None where it was never taken."""
        with self._database.reading() as session:
            return session.get(Job, self.job)

    def take_tick(self) -> Lease | None:
        """Take the tick that is due; None where it is done, or another worker has the job."""
        if self.ticks is None:
            return None
        due, state = self.ticks.due(self._now()), self.state()
        done = state.done_due if state else None
        if done is not None and done >= due:
            return None
        # Counted before the transaction, as that can take seconds; its beginning must hold still.
        missed = NONE_MISSED if done is None else self.ticks.missed(done, due)
        is_as_counted = Job.done_due.is_not_distinct_from(done)
        not_passed = or_(Job.last_due.is_(None), Job.last_due <= due)
        return self._take(Trigger.SCHEDULE, and_(is_as_counted, not_passed), due, missed)

    def take_now(self, trigger: Trigger) -> Lease | None:
        """Take the job for a run that was asked for; None where another worker has it."""
        return self._take(trigger, true())

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

    def save(
        self, lease: Lease, cursor: Fields, also: Callable[[Session], None] | None = None
    ) -> None:
        """Commit how far the run has come, and what ``also`` writes, together.

        Raises LeaseLostError where another worker has taken the job; then nothing is committed.
        """
        with self._database.writing() as session:
            self._change_under(lease, session, cursor=cursor, lease_end=self._lease_end())
            if also is not None:
                also(session)

    def finish(self, lease: Lease, outcome: Outcome) -> None:
        """Commit how the run ended, its cursor and its tick, and give the job back.

        Raises LeaseLostError where another worker has taken the job; then nothing is committed.
        """
        changes: dict[str, object] = {"owner": None, "lease_end": None, "run_id": None}
        if lease.due is not None and outcome.status is not RunStatus.INTERRUPTED:
            changes["done_due"] = lease.due
        if outcome.status is RunStatus.SUCCEEDED:
            changes["last_success"] = self._now()
        if outcome.report is not None and outcome.report.cursor is not None:
            changes["cursor"] = outcome.report.cursor
        with self._database.writing() as session:
            self._change_under(lease, session, **changes)
            columns = columns_of(outcome) | {"ended": self._now()}
            session.execute(update(Run).where(Run.id == lease.run_id).values(columns))

    def seconds_to_next_try(self) -> float:
        """Return how long to wait before `take_tick` may find something."""
        if self.ticks is None:
            return LONGEST_PAUSE_SECONDS
        now, state = self._now(), self.state()
        if state is None or state.done_due is None or state.done_due < self.ticks.due(now):
            return self.retry_seconds
        if state.done_due > now + CLOCK_DIFFERENCE_SECONDS:
            ahead = state.done_due - now
            log.warning(
                "job %s: a clock was %d s ahead of this one; until then it rests", self.job, ahead
            )
        return min(LONGEST_PAUSE_SECONDS, max(0.0, self.ticks.following(now) - now))

    def _lease_end(self) -> ColumnElement[float]:
        return database_time() + self.lease_seconds

    def _take(
        self,
        trigger: Trigger,
        condition: ColumnElement[bool],
        due: int | None = None,
        missed: Missed = NONE_MISSED,
    ) -> Lease | None:
        """Take the job and enter its run in one transaction: there is never the one alone."""
        run = Run(id=str(uuid.uuid4()), job=self.job, trigger=trigger, due=due)
        run.status, run.started = RunStatus.RUNNING, self._now()
        run.merged_ticks, run.merged_since = missed.count, missed.since
        changes: dict[str, object] = {
            "owner": self._owner,
            "lease_end": self._lease_end(),
            "fence": Job.fence + 1,
        }
        if due is not None:
            changes["last_due"] = due
        is_free = or_(Job.owner.is_(None), Job.lease_end <= database_time())
        with self._database.writing() as session:
            insert_if_absent(session, Job, [{"name": self.job, "fence": 0}])
            if _changed_rows(session, and_(Job.name == self.job, is_free, condition), changes) == 0:
                return None
            job = session.get_one(Job, self.job)
            _mark_interrupted(session, job.run_id, run.started)
            job.run_id = run.id
            session.add(run)
            return Lease(self.job, run.id, job.fence, due, job.cursor, missed.count)

    def _change_under(self, lease: Lease, session: Session, **changes: object) -> None:
        """Change the job's row while the run of ``lease`` is the one under way, and not ended."""
        is_ours = and_(Job.name == self.job, Job.fence == lease.fence, Job.run_id == lease.run_id)
        if _changed_rows(session, is_ours, changes) == 0:
            raise LeaseLostError(f"run {lease.run_id}: another worker has taken the job over")


def _changed_rows(
    session: Session, condition: ColumnElement[bool], changes: Mapping[str, object]
) -> int:
    statement = update(Job).where(condition).values(changes)
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def _mark_interrupted(session: Session, run_id: str | None, now: float) -> None:
    """Mark what a worker left behind that died, or was suspended past its lease."""
    left = update(Run).where(Run.id == run_id, Run.status == RunStatus.RUNNING)
    detail = "its worker stopped before the end; its lease ran out"
    session.execute(
        left.values(status=RunStatus.INTERRUPTED, error="interrupted", detail=detail, ended=now)
    )
