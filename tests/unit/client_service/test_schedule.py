import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from client_service.lease_keeper import LeaseKeeper
from client_service.models import ArrowEvent, Job, Run
from client_service.runs import Outcome, RunStatus, Trigger
from client_service.schedule import (
    LONGEST_PAUSE_SECONDS,
    RETRY_SECONDS,
    Lease,
    LeaseLostError,
    Schedule,
)
from client_service.scheduler import Scheduler
from client_service.task import Report
from client_service.ticks import Cron, Interval, Missed
from shared.database import Database

JOB = "reconcile"
MINUTE = 60
START = 6_000_000
CURSOR = {"page": 3}
SUCCEEDED = Outcome(RunStatus.SUCCEEDED, Report({"read": 70}, "70 were read", cursor=CURSOR))
FAILED = Outcome(RunStatus.FAILED, error="401 invalid_client", detail="no")

Replica = Callable[[], Schedule]


@pytest.fixture
def wall(clock: Any) -> Any:
    clock.time = float(START)
    return clock


@pytest.fixture
def replica(database: Database, wall: Any) -> Replica:
    """Make replicas of the worker: each with an owner of its own, on one database."""
    return lambda: Schedule(database, JOB, ticks=Interval(MINUTE), lease_seconds=10, now=wall)


@pytest.fixture
def schedule(replica: Replica) -> Schedule:
    return replica()


def let_the_lease_end(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(Job).values(lease_end=1.0))


def run_of(database: Database, lease: Lease) -> Run:
    with database.reading() as session:
        return session.get_one(Run, lease.run_id)


def arrow_event(name: str) -> ArrowEvent:
    """Stand for what a job writes of its own."""
    return ArrowEvent(trace_id="t", span_id="s", time="now", name=name, service="s", fields={})


def names_of_events(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(ArrowEvent.name)))


def job_in(database: Database) -> Job:
    with database.reading() as session:
        return session.get_one(Job, JOB)


def taken(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def test_a_tick_is_due_at_multiples_of_the_interval_not_at_the_start_of_a_process(
    schedule: Schedule, wall: Any
) -> None:
    wall.time = START + 59.9

    assert taken(schedule.take_tick()).due == START


def test_a_tick_is_taken_once(schedule: Schedule, replica: Replica) -> None:
    lease = taken(schedule.take_tick())
    schedule.finish(lease, SUCCEEDED)

    assert schedule.take_tick() is None
    assert replica().take_tick() is None


def test_of_many_replicas_one_takes_the_tick(replica: Replica) -> None:
    replicas = [replica() for _ in range(4)]
    together = Barrier(4)

    def take(schedule: Schedule) -> Lease | None:
        together.wait(10)
        return schedule.take_tick()

    with ThreadPoolExecutor(4) as pool:
        leases = list(pool.map(take, replicas))

    assert len([lease for lease in leases if lease]) == 1


def test_the_run_is_entered_with_the_tick(database: Database, schedule: Schedule) -> None:
    lease = taken(schedule.take_tick())

    run = run_of(database, lease)
    assert (run.status, run.trigger, run.due) == ("running", "schedule", START)
    assert (run.started, run.trace_id) == (START, None)


def test_the_trace_of_a_run_is_entered_when_it_begins(
    database: Database, schedule: Schedule
) -> None:
    lease = taken(schedule.take_tick())

    schedule.begin(lease, "a" * 32)

    assert run_of(database, lease).trace_id == "a" * 32


def test_the_result_and_the_cursor_are_committed_together(
    database: Database, schedule: Schedule, wall: Any
) -> None:
    lease = taken(schedule.take_tick())
    wall.time += 2

    schedule.finish(lease, SUCCEEDED)

    run = run_of(database, lease)
    assert (run.status, run.ended) == ("succeeded", START + 2)
    assert (run.result, run.detail) == ({"read": 70}, "70 were read")
    wall.time += MINUTE
    assert taken(schedule.take_tick()).cursor == CURSOR


def test_a_failed_run_completes_its_tick_and_keeps_the_cursor(
    database: Database, schedule: Schedule, wall: Any
) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time += MINUTE
    lease = taken(schedule.take_tick())

    schedule.finish(lease, FAILED)

    run = run_of(database, lease)
    assert (run.status, run.error, run.detail) == ("failed", "401 invalid_client", "no")
    assert schedule.take_tick() is None
    assert job_in(database).cursor == CURSOR


def test_missed_ticks_are_merged_into_the_next_and_recorded(
    database: Database, schedule: Schedule, wall: Any
) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time += 5 * MINUTE

    run = run_of(database, taken(schedule.take_tick()))

    assert (run.due, run.merged_ticks) == (START + 5 * MINUTE, 4)
    assert run.merged_since == START + MINUTE


def test_the_first_tick_ever_and_the_next_in_time_merge_none(
    database: Database, schedule: Schedule, wall: Any
) -> None:
    first = taken(schedule.take_tick())
    schedule.finish(first, SUCCEEDED)
    wall.time += MINUTE
    second = taken(schedule.take_tick())

    runs = [run_of(database, lease) for lease in (first, second)]
    assert [(run.merged_ticks, run.merged_since) for run in runs] == [(0, None)] * 2


def test_while_a_lease_lives_nobody_else_gets_the_job(
    schedule: Schedule, replica: Replica, wall: Any
) -> None:
    taken(schedule.take_tick())
    wall.time += MINUTE

    assert replica().take_tick() is None
    assert replica().take_now(Trigger.REQUEST) is None


def test_the_tick_of_a_crashed_worker_is_taken_over_after_its_lease(
    database: Database, schedule: Schedule, replica: Replica
) -> None:
    dead = taken(schedule.take_tick())
    let_the_lease_end(database)

    lease = taken(replica().take_tick())

    assert (lease.due, lease.fence) == (dead.due, dead.fence + 1)
    left = run_of(database, dead)
    assert (left.status, left.error, left.ended) == ("interrupted", "interrupted", START)


def test_the_tick_of_a_crashed_worker_is_merged_into_a_later_one(
    database: Database, schedule: Schedule, replica: Replica, wall: Any
) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time += MINUTE
    taken(schedule.take_tick())
    let_the_lease_end(database)
    wall.time += MINUTE

    run = run_of(database, taken(replica().take_tick()))

    assert (run.merged_ticks, run.merged_since) == (1, START + MINUTE)


def test_what_a_worker_did_past_its_lease_is_not_committed(
    database: Database, schedule: Schedule, replica: Replica
) -> None:
    late = taken(schedule.take_tick())
    let_the_lease_end(database)
    taken(replica().take_tick())

    with pytest.raises(LeaseLostError):
        schedule.finish(late, SUCCEEDED)

    assert run_of(database, late).status == "interrupted"
    assert job_in(database).cursor is None


def test_a_cursor_is_saved_on_the_way_together_with_what_the_job_writes(
    database: Database, schedule: Schedule, replica: Replica
) -> None:
    lease = taken(schedule.take_tick())

    schedule.save(lease, CURSOR, lambda session: session.add(arrow_event("page 3")))
    let_the_lease_end(database)

    assert taken(replica().take_tick()).cursor == CURSOR
    assert names_of_events(database) == ["page 3"]


def test_a_worker_past_its_lease_saves_neither_cursor_nor_anything_else(
    database: Database, schedule: Schedule, replica: Replica
) -> None:
    late = taken(schedule.take_tick())
    let_the_lease_end(database)
    taken(replica().take_tick())

    with pytest.raises(LeaseLostError):
        schedule.save(late, CURSOR, lambda session: session.add(arrow_event("page 3")))

    assert job_in(database).cursor is None
    assert names_of_events(database) == []


def test_what_cannot_be_written_keeps_the_cursor_where_it_was(
    database: Database, schedule: Schedule
) -> None:
    lease = taken(schedule.take_tick())

    def fail(_session: Session) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        schedule.save(lease, CURSOR, fail)

    assert job_in(database).cursor is None


def test_a_run_ends_once(database: Database, schedule: Schedule) -> None:
    lease = taken(schedule.take_tick())
    schedule.finish(lease, SUCCEEDED)

    with pytest.raises(LeaseLostError):
        schedule.finish(lease, FAILED)

    assert run_of(database, lease).status == "succeeded"


def test_the_last_success_is_remembered_past_a_failure(
    database: Database, schedule: Schedule, wall: Any
) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time += MINUTE
    schedule.finish(taken(schedule.take_tick()), FAILED)

    assert job_in(database).last_success == START


def test_a_tick_that_another_completed_since_it_was_counted_from_is_not_taken(
    database: Database, schedule: Schedule, replica: Replica, wall: Any
) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time += 3 * MINUTE
    other = replica()

    class SlowToCount(Interval):
        def missed(self, done: int, due: int) -> Missed:
            other.finish(taken(other.take_tick()), SUCCEEDED)
            return super().missed(done, due)

    schedule.ticks = SlowToCount(MINUTE)

    assert schedule.take_tick() is None
    assert other.take_tick() is None


def test_a_clock_that_is_far_behind_the_last_tick_is_said(
    schedule: Schedule, wall: Any, caplog: pytest.LogCaptureFixture
) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time -= 3600

    with caplog.at_level(logging.WARNING):
        assert schedule.seconds_to_next_try() == 60

    assert "a clock was 3600 s ahead of this one" in caplog.text


def test_a_job_that_is_never_due_takes_no_tick_and_runs_on_demand(
    database: Database, wall: Any
) -> None:
    on_demand = Schedule(database, JOB, ticks=None, lease_seconds=10, now=wall)

    assert on_demand.take_tick() is None
    assert taken(on_demand.take_now(Trigger.COMMAND)).due is None


def test_two_jobs_hold_up_neither_one_the_other(database: Database, schedule: Schedule) -> None:
    other = Schedule(database, "other", ticks=Interval(MINUTE), lease_seconds=10)

    assert taken(schedule.take_now(Trigger.COMMAND)).job == JOB
    assert taken(other.take_now(Trigger.COMMAND)).job == "other"


def test_a_tick_far_away_is_waited_for_in_pieces(database: Database, wall: Any) -> None:
    weekly = Schedule(database, JOB, ticks=Cron("0 3 * * SUN"), lease_seconds=10, now=wall)
    weekly.finish(taken(weekly.take_tick()), SUCCEEDED)

    assert weekly.seconds_to_next_try() == LONGEST_PAUSE_SECONDS


def test_a_clock_that_is_set_back_takes_no_tick_twice(schedule: Schedule, wall: Any) -> None:
    schedule.finish(taken(schedule.take_tick()), SUCCEEDED)
    wall.time -= 10 * MINUTE

    assert schedule.take_tick() is None


def test_a_run_that_was_asked_for_takes_no_tick(database: Database, schedule: Schedule) -> None:
    lease = taken(schedule.take_now(Trigger.COMMAND))
    schedule.finish(lease, SUCCEEDED)

    assert (lease.due, run_of(database, lease).trigger) == (None, "command")
    assert taken(schedule.take_tick()).due == START


def test_an_interrupted_run_leaves_its_tick_to_be_taken_again(schedule: Schedule) -> None:
    schedule.finish(taken(schedule.take_tick()), Outcome(RunStatus.INTERRUPTED))

    assert taken(schedule.take_tick()).due == START


def test_a_renewed_lease_lives_longer(database: Database, schedule: Schedule) -> None:
    lease = taken(schedule.take_tick())
    let_the_lease_end(database)

    schedule.renew(lease)

    end = job_in(database).lease_end
    assert end is not None
    assert end > START


def test_a_lost_lease_cannot_be_renewed(
    database: Database, schedule: Schedule, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    lease = taken(schedule.take_tick())
    let_the_lease_end(database)
    taken(replica().take_tick())

    with pytest.raises(LeaseLostError):
        schedule.renew(lease)
    with caplog.at_level(logging.WARNING):
        LeaseKeeper(schedule, lease).keep(lambda: False)
    assert "another worker has taken the job over" in caplog.text


def test_a_lease_is_kept_until_the_run_is_over(database: Database, schedule: Schedule) -> None:
    lease = taken(schedule.take_tick())
    let_the_lease_end(database)
    pauses = iter([False, False, True])

    LeaseKeeper(schedule, lease).keep(lambda: next(pauses))

    assert list(pauses) == []
    assert (job_in(database).lease_end or 0) > START


def test_a_database_that_is_away_for_a_moment_does_not_end_the_keeping(
    database: Database, schedule: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    lease = taken(schedule.take_tick())
    with database.writing() as session:
        session.execute(text("ALTER TABLE job RENAME TO gone"))
    pauses = iter([False, False, True])

    with caplog.at_level(logging.WARNING):
        LeaseKeeper(schedule, lease).keep(lambda: next(pauses))

    assert caplog.text.count("could not renew the lease: OperationalError") == 2


def test_a_lease_that_cannot_be_renewed_in_its_time_is_given_up(
    database: Database, schedule: Schedule, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = LeaseKeeper(schedule, taken(schedule.take_tick()), clock)
    with database.writing() as session:
        session.execute(text("ALTER TABLE job RENAME TO gone"))
    pauses = iter([4, 4, 4, 4])

    def over() -> bool:
        clock.time += next(pauses)
        return False

    with caplog.at_level(logging.WARNING):
        keeper.keep(over)

    assert list(pauses) == [4]
    with pytest.raises(LeaseLostError):
        keeper.check()


def test_a_lease_whose_renewal_hangs_is_given_up_when_its_time_is_over(
    schedule: Schedule, clock: Any
) -> None:
    keeper = LeaseKeeper(schedule, taken(schedule.take_tick()), clock)
    clock.time += 9.9
    keeper.check()

    clock.time += 0.1

    with pytest.raises(LeaseLostError):
        keeper.check()


def test_the_next_try_is_at_the_next_tick_once_this_one_is_done(
    schedule: Schedule, wall: Any
) -> None:
    wall.time += 12
    assert schedule.seconds_to_next_try() == RETRY_SECONDS
    lease = taken(schedule.take_tick())
    assert schedule.seconds_to_next_try() == RETRY_SECONDS

    schedule.finish(lease, SUCCEEDED)

    assert schedule.seconds_to_next_try() == 48


def test_a_turn_works_on_the_tick_that_is_due(schedule: Schedule) -> None:
    worked: list[Lease] = []

    def work(lease: Lease) -> None:
        worked.append(lease)
        schedule.finish(lease, SUCCEEDED)

    scheduler = Scheduler(schedule, work)

    assert [scheduler.turn(), scheduler.turn()] == [60, 60]
    assert len(worked) == 1


def test_a_bug_in_a_run_does_not_end_the_schedule(
    schedule: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    def work(_lease: Lease) -> None:
        raise ZeroDivisionError

    assert Scheduler(schedule, work).turn() == RETRY_SECONDS
    assert caplog.records[-1].exc_info is not None


def test_a_database_that_is_away_does_not_end_the_schedule(
    database: Database, schedule: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    with database.writing() as session:
        session.execute(text("ALTER TABLE job RENAME TO gone"))

    assert Scheduler(schedule, lambda _lease: None).turn() == RETRY_SECONDS
    assert "the schedule waits for its database" in caplog.text


def test_a_scheduler_runs_until_it_is_stopped(database: Database, schedule: Schedule) -> None:
    worked = Event()

    def work(lease: Lease) -> None:
        schedule.finish(lease, SUCCEEDED)
        worked.set()

    scheduler = Scheduler(schedule, work)
    scheduler.start()
    assert worked.wait(10)

    scheduler.stop(10)

    assert not scheduler._thread.is_alive()
    with database.reading() as session:
        assert [run.status for run in session.scalars(select(Run))] == ["succeeded"]


def test_a_scheduler_that_never_started_can_be_stopped(schedule: Schedule) -> None:
    Scheduler(schedule, lambda _lease: None).stop(1)

    assert taken(schedule.take_tick()).due == START
