from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from auth_server.app import MIGRATIONS
from auth_server.client_authentication import used_assertions as module
from auth_server.client_authentication.used_assertions import (
    CLEANING_INTERVAL_SECONDS,
    CLOCK_DIFFERENCE_SECONDS,
    UsedAssertions,
)
from auth_server.models import UsedAssertion
from shared.database import Database, migrate
from tests.stack.postgres import PostgresDatabase
from tests.unit.auth_server.running import Clock

AT_ONCE = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of each kind; the one in a container where there are containers."""
    if request.param == "sqlite":
        yield request.getfixturevalue("empty_database")
        return
    given: PostgresDatabase = request.getfixturevalue("postgres_database")
    database = Database(given.url, given.password)
    migrate(database, MIGRATIONS)
    yield database
    database.engine.dispose()


@pytest.fixture
def used(database: Database, clock: Clock) -> UsedAssertions:
    return UsedAssertions(database, clock)


def rows(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(UsedAssertion)) or 0


def test_an_assertion_is_new_once(used: UsedAssertions, clock: Clock) -> None:
    uses = [used.is_first_use("signer", "a", clock.time + 60) for _ in range(3)]
    assert uses == [True, False, False]


def test_another_jti_and_the_same_of_another_client_are_new(
    used: UsedAssertions, clock: Clock
) -> None:
    pairs = [("signer", "a"), ("signer", "b"), ("other", "a")]
    assert [used.is_first_use(*pair, clock.time + 60) for pair in pairs] == [True, True, True]


def test_of_many_uses_at_once_one_is_the_first(database: Database, clock: Clock) -> None:
    start, processes = Barrier(AT_ONCE), [UsedAssertions(database, clock) for _ in range(AT_ONCE)]

    def use(process: UsedAssertions) -> bool:
        start.wait()
        return process.is_first_use("signer", "a", clock.time + 60)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        uses = list(pool.map(use, processes))
    assert sorted(uses) == [False] * (AT_ONCE - 1) + [True]


def test_what_threads_of_one_process_bring_at_once_is_each_new_once(
    used: UsedAssertions, database: Database, clock: Clock
) -> None:
    start = Barrier(AT_ONCE)

    def use(jti: str) -> bool:
        start.wait()
        return used.is_first_use("signer", jti, clock.time + 60)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        first = [sum(pool.map(use, jtis)) for jtis in ("aaaabbbb", "bbbbcdef", "ghijklmn")]
    assert (first, rows(database)) == ([2, 4, 8], 14)


def test_what_cannot_be_written_is_an_error_to_each_of_those_who_bring_it(
    used: UsedAssertions, database: Database, clock: Clock
) -> None:
    start = Barrier(AT_ONCE)

    def error(number: int) -> type[SQLAlchemyError] | None:
        start.wait()
        try:
            used.is_first_use("signer", str(number), clock.time + 60)
        except SQLAlchemyError as error:
            return type(error)
        return None

    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE used_assertions RENAME TO gone")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        errors = list(pool.map(error, range(AT_ONCE)))
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO used_assertions")
    assert None not in errors
    assert used.is_first_use("signer", "0", clock.time + 60) is True


def test_a_first_use_is_committed_when_it_is_told(
    used: UsedAssertions, database: Database, clock: Clock
) -> None:
    used.is_first_use("signer", "a", clock.time + 60)
    other = Database(database.engine.url.render_as_string(hide_password=False))
    try:
        assert UsedAssertions(other, clock).is_first_use("signer", "a", clock.time + 60) is False
    finally:
        other.engine.dispose()


def test_what_ended_is_deleted_in_passing(
    used: UsedAssertions, database: Database, clock: Clock
) -> None:
    for number in range(3):
        used.is_first_use("signer", f"old {number}", clock.time + 10)
    used.is_first_use("signer", "young", clock.time + 1000)
    clock.time += 10 + CLOCK_DIFFERENCE_SECONDS + CLEANING_INTERVAL_SECONDS
    used.is_first_use("signer", "new", clock.time + 60)
    assert rows(database) == 2
    assert used.is_first_use("signer", "young", clock.time + 1000) is False


def test_nothing_is_deleted_while_another_clock_may_still_take_it(
    used: UsedAssertions, database: Database, clock: Clock
) -> None:
    used.is_first_use("signer", "old", clock.time + 10)
    clock.time += 10 + CLOCK_DIFFERENCE_SECONDS
    used.is_first_use("signer", "new", clock.time + 60)
    assert rows(database) == 2


def test_deleting_is_for_now_and_then_and_some_at_a_time(
    used: UsedAssertions, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_CLEANING", 2)
    for number in range(5):
        used.is_first_use("signer", f"old {number}", clock.time + 10)
    clock.time += 1000
    counts = []
    for number in range(4):
        used.is_first_use("signer", f"new {number}", clock.time + 5000)
        counts.append(rows(database))
    assert counts == [4, 3, 3, 4]  # five old and a new one less two; the last one waits its time


def test_processes_that_delete_at_once_do_not_hinder_each_other(
    database: Database, clock: Clock
) -> None:
    processes = [UsedAssertions(database, clock) for _ in range(AT_ONCE)]
    for number in range(50):
        processes[0].is_first_use("signer", f"old {number}", clock.time + 10)
    clock.time += 1000
    start = Barrier(AT_ONCE)

    def use(numbered: tuple[int, UsedAssertions]) -> bool:
        start.wait()
        return numbered[1].is_first_use("signer", f"new {numbered[0]}", clock.time + 60)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        uses = list(pool.map(use, enumerate(processes)))
    assert (uses, rows(database)) == ([True] * AT_ONCE, AT_ONCE)


def test_a_failure_to_delete_refuses_nobody(
    used: UsedAssertions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_self: UsedAssertions, _now: float) -> int:
        raise OperationalError("DELETE", {}, Exception("database is locked"))

    monkeypatch.setattr(UsedAssertions, "_delete_some_that_ended", locked)
    assert used.is_first_use("signer", "a", clock.time + 60) is True
