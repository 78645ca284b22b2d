"""Three replicas on one database: killed -9 and suspended in their runs, with clocks that differ.

`REPLICAS_TEST_SECONDS=300` lets the first of these tests go on for that long.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from client_service.app import MIGRATIONS
from client_service.models import Job, Run
from client_service.runs import RunStatus
from shared.database import Database, migrate
from tests.stack.postgres import PostgresDatabase, PostgresServer
from tests.unit.client_service.replicas import (
    JOB,
    LEASE_SECONDS,
    MAKE_PAGES,
    PAGES,
    TICK_SECONDS,
    Replicas,
)

SECONDS = float(os.environ.get("REPLICAS_TEST_SECONDS", "1"))
FEWEST_HITS = 2
HEALED_SECONDS = 20


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Any) -> tuple[str, str | None]:
    """The address of an empty database of either kind, and its password."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/replicas.db", None
    given = request.getfixturevalue("postgres_database")
    return given.url, given.password.get_secret_value()


@pytest.fixture
def shared_database(address: tuple[str, str | None]) -> Iterator[Database]:
    url, password = address
    database = Database(url, SecretStr(password) if password else None)
    migrate(database, MIGRATIONS)
    with database.writing() as session:
        session.execute(text(MAKE_PAGES))
    yield database
    database.engine.dispose()


@contextmanager
def running(address: tuple[str, str | None], *clocks_ahead: float) -> Iterator[Replicas]:
    replicas = Replicas(*address, clocks_ahead)
    try:
        replicas.start()
        yield replicas
    finally:
        replicas.stop()


def job_in(database: Database) -> Job:
    with database.reading() as session:
        return session.get(Job, JOB) or Job(fence=0)


def wait_until(is_so: Callable[[], Any], seconds: float = HEALED_SECONDS) -> Any:
    """Return what ``is_so`` returns when it is true, or at the end of the time."""
    end = time.monotonic() + seconds
    while not (fact := is_so()) and time.monotonic() < end:
        time.sleep(0.01)
    return fact


def wait_for_a_tick(database: Database) -> None:
    done = job_in(database).done_due or 0
    assert wait_until(lambda: (job_in(database).done_due or 0) > done), "no tick is completed"


def scheduled_runs(database: Database) -> list[Run]:
    with database.reading() as session:
        return list(session.scalars(select(Run).order_by(Run.due, Run.started)))


def require_each_tick_once_or_merged(runs: list[Run]) -> None:
    """Look at each tick from the first completed to the last: none twice, none unaccounted for."""
    completed = [run for run in runs if run.status == RunStatus.SUCCEEDED]
    for before, run in pairwise(completed):
        assert before.due is not None
        assert run.due is not None
        assert run.due > before.due
        assert run.merged_ticks == (run.due - before.due) // TICK_SECONDS - 1
        assert run.merged_since == (before.due + TICK_SECONDS if run.merged_ticks else None)


def require_each_page_once(database: Database, runs: list[Run]) -> None:
    with database.reading() as session:
        pages = list(session.scalars(text("SELECT number FROM page ORDER BY number")))
    cursor = job_in(database).cursor
    assert cursor is not None
    assert pages == list(range(1, cursor["number"] + 1))
    assert len(pages) >= PAGES * len([run for run in runs if run.status == RunStatus.SUCCEEDED])


def suspend_the_owner(replicas: Replicas, database: Database, job: Job) -> None:
    """Let the owner stand still past its lease, until another replica has the job."""
    assert job.owner is not None
    with replicas.suspended(job.owner):
        # One that stands still in a transaction holds the others up: then it is for a while.
        wait_until(lambda: job_in(database).fence > job.fence, 3 * LEASE_SECONDS)


def test_each_tick_is_completed_once_or_merged_whoever_is_killed_or_suspended(
    address: tuple[str, str | None], shared_database: Database
) -> None:
    end, hits = time.monotonic() + SECONDS, 0
    with running(address, 0, 0, 0) as replicas:
        while hits < FEWEST_HITS or time.monotonic() < end:
            wait_for_a_tick(shared_database)
            job = wait_until(lambda: (job := job_in(shared_database)).owner and job)
            hits += 1
            if hits % 2 == 0:
                suspend_the_owner(replicas, shared_database, job)
            else:
                replicas.kill(job.owner)
                replicas.start()
        wait_for_a_tick(shared_database)

    runs = scheduled_runs(shared_database)
    require_each_tick_once_or_merged(runs)
    require_each_page_once(shared_database, runs)
    statuses = [run.status for run in runs]
    assert set(statuses) <= {"succeeded", "interrupted", "running"}
    assert statuses.count("running") <= 1
    assert statuses.count("interrupted") >= 1


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_replicas_whose_clocks_differ_complete_no_tick_twice(
    address: tuple[str, str | None], shared_database: Database
) -> None:
    with running(address, 0, 2.3, -40) as replicas:
        wait_for_a_tick(shared_database)
        job = wait_until(lambda: (job := job_in(shared_database)).owner and job)
        replicas.kill(job.owner)  # another's clock has to come up with its last tick
        wait_for_a_tick(shared_database)
        wait_for_a_tick(shared_database)

    runs = scheduled_runs(shared_database)
    require_each_tick_once_or_merged(runs)
    require_each_page_once(shared_database, runs)


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_when_the_database_is_back_the_replicas_go_on_where_they_were(
    postgres: PostgresServer,
    postgres_database: PostgresDatabase,
    address: tuple[str, str | None],
    shared_database: Database,
) -> None:
    with running(address, 0, 0, 0):
        wait_for_a_tick(shared_database)
        assert wait_until(lambda: job_in(shared_database).owner)
        shared_database.engine.dispose()
        with postgres.away(postgres_database):
            time.sleep(TICK_SECONDS)  # a tick is missed
        wait_for_a_tick(shared_database)
        wait_for_a_tick(shared_database)

    runs = scheduled_runs(shared_database)
    require_each_tick_once_or_merged(runs)
    require_each_page_once(shared_database, runs)
    assert "failed" not in {run.status for run in runs}
