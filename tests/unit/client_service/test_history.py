import logging
from typing import Any

import pytest
from sqlalchemy import func, select, text

from client_service.history import DAY_SECONDS, MOST_AT_ONCE, History
from client_service.models import ArrowEvent, Run
from shared.database import Database

NOW = 100 * DAY_SECONDS


@pytest.fixture
def history(database: Database) -> History:
    return History(database, days=30, now=lambda: NOW)


def enter(database: Database, name: str, days_ago: float, **changes: Any) -> None:
    with database.writing() as session:
        session.add_all(rows(name, days_ago, **changes))


def rows(name: str, days_ago: float, **changes: Any) -> tuple[Run, ArrowEvent]:
    fields: dict[str, Any] = {
        "id": name,
        "job": "reconcile",
        "trigger": "schedule",
        "status": "succeeded",
    }
    fields |= {"trace_id": name, "merged_ticks": 0, "started": NOW - days_ago * DAY_SECONDS}
    event: dict[str, Any] = {
        "span_id": "s",
        "time": "t",
        "name": "n",
        "service": "bank",
        "fields": {},
    }
    return Run(**(fields | changes)), ArrowEvent(trace_id=name, **event)


def kept(database: Database) -> set[str]:
    with database.reading() as session:
        runs = set(session.scalars(select(Run.id)))
        assert runs == set(session.scalars(select(ArrowEvent.trace_id)))
    return runs


def test_old_runs_are_forgotten_with_their_arrows(database: Database, history: History) -> None:
    enter(database, "old", days_ago=30.1)
    enter(database, "young", days_ago=29.9)

    history.forget()

    assert kept(database) == {"young"}


def test_a_run_under_way_is_not_forgotten(database: Database, history: History) -> None:
    enter(database, "long", days_ago=31, status="running")

    history.forget()

    assert kept(database) == {"long"}


def test_the_oldest_go_first_and_a_bounded_number_at_once(
    database: Database, history: History
) -> None:
    with database.writing() as session:
        for number in range(MOST_AT_ONCE + 2):
            session.add_all(rows(f"{number}", days_ago=100 - number / 10))

    history.forget()

    assert kept(database) == {f"{MOST_AT_ONCE}", f"{MOST_AT_ONCE + 1}"}


def test_a_busy_database_is_left_in_peace(
    database: Database, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    enter(database, "old", days_ago=31)

    with database.writing() as session, caplog.at_level(logging.WARNING):
        session.execute(text("UPDATE job SET fence = fence"))
        history.forget()

    assert kept(database) == {"old"}
    assert "old runs are deleted later: OperationalError" in caplog.text


def test_old_runs_are_found_by_an_index(database: Database) -> None:
    old = select(func.count()).where(Run.started < 1.0)
    statement = str(old.compile(compile_kwargs={"literal_binds": True}))
    with database.reading() as session:
        plan = str(session.execute(text(f"EXPLAIN QUERY PLAN {statement}")).all())

    assert "INDEX run_started " in plan
