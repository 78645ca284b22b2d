"""How many statements the database sees for a token, and what the client cache changes."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select
from werkzeug.test import TestResponse

from auth_server.registry import Registry
from auth_server.registry.last_use import WRITTEN_EVERY_SECONDS
from shared.database import BUSY_TIMEOUT_SECONDS
from tests.unit.auth_server.running import Running

MakeServer = Callable[..., Running]


@contextmanager
def statements(server: Running) -> Iterator[list[str]]:
    """Note the first word of every statement that the database gets."""
    seen: list[str] = []

    def listen(connection: sqlite3.Connection, *_more: Any) -> None:
        connection.set_trace_callback(lambda statement: seen.append(statement.split()[0]))

    def listen_no_more(connection: sqlite3.Connection, *_more: Any) -> None:
        connection.set_trace_callback(None)

    database = server.parts.database
    database.engine.dispose()  # threads have connections of their own: let them make new ones
    pool = database.engine.pool
    event.listen(pool, "checkout", listen)
    event.listen(pool, "checkin", listen_no_more)
    database.at_once(select(1), {})
    seen.clear()
    try:
        yield seen
    finally:
        event.remove(pool, "checkout", listen)
        event.remove(pool, "checkin", listen_no_more)
        database.engine.dispose()


def ask(server: Running, *more: tuple[str, str], **options: str) -> TestResponse:
    """Ask for a token to the end: what is done after the answer is done too."""
    response = server.ask(*more, **options)
    response.close()
    return response


def last_use(server: Running) -> int | None:
    (secret,) = server.parts.registry.secrets.all_of("worker")
    return secret.last_used_at


def another_process(server: Running) -> Registry:
    """The register as another worker, or a command, sees it."""
    return Registry(server.parts.database, server.clock)


def test_a_warm_token_request_does_not_touch_the_database(server: Running) -> None:
    ask(server)
    with statements(server) as seen:
        ask(server, ("scope", "openid"))
    assert seen == []


def test_without_the_cache_a_warm_token_request_is_one_read_and_no_write(make: MakeServer) -> None:
    server = make(client_cache_seconds=0)
    ask(server)
    with statements(server) as seen:
        ask(server, ("scope", "openid"))
    assert seen == ["SELECT"]


@pytest.mark.parametrize("seconds", [0, 5], ids=["no cache", "cache"])
@pytest.mark.parametrize(
    ("client_id", "secret"),
    [("worker", "wrong"), ("nobody", "wrong"), ("a\x00b", "wrong")],
    ids=["wrong secret", "unknown", "malformed"],
)
def test_a_failure_is_one_read_at_most_whatever_is_kept(
    make: MakeServer, seconds: int, client_id: str, secret: str
) -> None:
    server = make(client_cache_seconds=seconds)
    ask(server)
    with statements(server) as seen:
        ask(server, authorization=server.basic(client_id, secret))
    assert seen == (["SELECT"] if "\x00" not in client_id else [])


def test_a_client_is_read_again_when_its_time_in_the_cache_is_over(make: MakeServer) -> None:
    server = make(key_reload_seconds=300)
    ask(server)
    server.clock.time += 5
    with statements(server) as seen:
        ask(server)
    assert seen == ["SELECT"]


def test_a_clock_that_was_put_back_keeps_no_client_longer(server: Running) -> None:
    ask(server)
    server.clock.time -= 3600
    with statements(server) as seen:
        ask(server)
    assert "SELECT" in seen


def test_a_new_secret_works_at_once(server: Running) -> None:
    ask(server)
    made = another_process(server).secrets.add("worker")
    assert ask(server, authorization=server.basic(secret=made.secret)).status_code == 200


def test_a_new_scope_works_at_once(server: Running) -> None:
    made = server.parts.registry.clients.add(
        "narrow",
        scopes=["Read"],
        authentication_method="client_secret_basic",
        may_have_id_token=False,
    )
    authorization = server.basic("narrow", made.secret)
    before = ask(server, authorization=authorization)
    another_process(server).clients.grant("narrow", scopes=["Write"])
    answer = ask(server, ("scope", "Write"), authorization=authorization)
    assert (before.get_json()["scope"], answer.status_code) == ("Read", 200)


def test_a_first_scope_works_at_once(server: Running) -> None:
    made = server.parts.registry.clients.add(
        "bare", scopes=[], authentication_method="client_secret_basic", may_have_id_token=False
    )
    authorization = server.basic("bare", made.secret)
    before = ask(server, authorization=authorization)
    another_process(server).clients.grant("bare")
    assert before.get_json()["error"] == "unauthorized_client"
    assert ask(server, authorization=authorization).status_code == 200


@pytest.mark.parametrize("what", ["disabled client", "revoked secret"])
def test_what_was_taken_away_works_for_the_caches_time_and_no_longer(
    server: Running, what: str
) -> None:
    ask(server)
    (secret,) = server.parts.registry.secrets.all_of("worker")
    if what == "disabled client":
        another_process(server).clients.disable("worker")
    else:
        another_process(server).secrets.revoke("worker", secret.secret_id)
    within = ask(server).status_code
    server.clock.time += 5
    assert (within, ask(server).status_code) == (200, 401)


def test_a_disabled_client_that_asks_for_more_than_is_kept_is_refused_at_once(
    server: Running,
) -> None:
    ask(server)
    another_process(server).clients.disable("worker")
    assert ask(server, ("scope", "Admin")).get_json()["error"] == "invalid_client"


def test_a_secret_ends_at_its_time_though_the_client_is_kept(server: Running) -> None:
    end = int(server.clock.time) + 2
    made = server.parts.registry.secrets.add("worker", expires_at=end)
    authorization = server.basic(secret=made.secret)
    within = ask(server, authorization=authorization).status_code
    server.clock.time += 2
    assert (within, ask(server, authorization=authorization).status_code) == (200, 401)


def test_the_first_use_of_a_secret_is_noted_after_the_answer(server: Running) -> None:
    response = server.ask()
    before = last_use(server)
    response.close()
    assert (response.status_code, before, last_use(server)) == (200, None, int(server.clock.time))


def test_a_use_is_noted_once_a_minute_at_most(server: Running) -> None:
    start = int(server.clock.time)
    noted = []
    for seconds in (0, 59, 60, 119, 120):
        server.clock.time = start + seconds
        ask(server)
        noted.append((last_use(server) or 0) - start)
    assert noted == [0, 0, 60, 60, 120]


def test_a_use_that_another_process_noted_is_not_noted_again_but_a_minute_after_it(
    server: Running, make: MakeServer
) -> None:
    start, other = int(server.clock.time), make()
    ask(server)
    ask(other)
    server.clock.time = start + 30
    with statements(server) as seen:
        ask(server)
    noted = last_use(server)
    server.clock.time = start + 60
    ask(other)
    assert ("UPDATE" in seen, noted, last_use(server)) == (False, start, start + 60)


def test_a_process_that_comes_a_moment_before_the_minute_is_up_notes_at_the_minute(
    server: Running, make: MakeServer
) -> None:
    start, other = int(server.clock.time), make()
    ask(other)  # it keeps the client as never used
    (secret,) = other.parts.registry.find_client("worker").secrets  # type: ignore[union-attr]
    server.clock.time = start + 59
    server.parts.registry.last_use.note(secret)
    server.clock.time = start + 60
    server.parts.registry.last_use.note(secret)
    assert last_use(server) == start + 60


def test_a_failed_authentication_is_no_use(server: Running) -> None:
    ask(server, authorization=server.basic(secret="wrong"))
    assert last_use(server) is None


def test_a_refused_scope_is_a_use_all_the_same(server: Running) -> None:
    assert ask(server, ("scope", "Admin")).status_code == 400
    assert last_use(server) == int(server.clock.time)


@contextmanager
def locked(server: Running) -> Iterator[None]:
    """Hold SQLite's one write lock, as a process does that writes for a long time."""
    path = server.parts.database.engine.url.database
    assert path is not None
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_locked_database_delays_no_token_and_the_use_is_noted_later(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(server):
        began = time.monotonic()
        answer = ask(server)
        took = time.monotonic() - began
    server.clock.time += 4
    ask(server)
    too_soon = last_use(server)
    server.clock.time += 1 + WRITTEN_EVERY_SECONDS  # else it is left to a timer, of the real time
    ask(server)
    assert (answer.status_code, too_soon) == (200, None)
    assert took < BUSY_TIMEOUT_SECONDS / 2
    assert last_use(server) == int(server.clock.time)
    assert "is not noted yet: OperationalError" in caplog.text


def test_after_an_impatient_write_the_others_are_as_patient_as_before(server: Running) -> None:
    with locked(server):
        ask(server)
    with server.parts.database.writing() as session:
        patience = session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert patience == BUSY_TIMEOUT_SECONDS * 1000


def test_of_threads_that_come_together_one_notes(server: Running) -> None:
    ask(server)
    server.clock.time += 60
    with statements(server) as seen:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen.count("UPDATE") == 1


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "which ends at" in one.getMessage()]


def test_the_end_of_a_secret_in_use_is_said_once_an_hour_when_it_comes_near(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    day = 86400
    end = int(server.clock.time) + 15 * day
    made = server.parts.registry.clients.add(
        "cron",
        authentication_method="client_secret_basic",
        may_have_id_token=True,
        expires_at=end,
    )
    said = []
    for seconds in (0, day, 3599, 1):
        server.clock.time += seconds
        ask(server, authorization=server.basic("cron", made.secret))
        said.append(len(warnings(caplog)))
    assert said == [0, 1, 1, 2]
    assert warnings(caplog)[0] == (
        f"cron uses the secret {made.secret_id}, which ends at 2027-01-30T08:00:00+00:00: rotate it"
    )


def test_a_client_that_uses_its_old_secret_near_its_end_is_said_to_do_so(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    registry, end = server.parts.registry, int(server.clock.time) + 3600
    old = registry.secrets.add("worker", expires_at=end)
    ask(server, authorization=server.basic(secret=old.secret))
    assert warnings(caplog)[0].endswith("it does not use its newer one yet")


def test_warnings_of_ends_can_be_switched_off(
    make: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make(secret_end_warning_days=0)
    end = int(server.clock.time) + 3600
    made = server.parts.registry.secrets.add("worker", expires_at=end)
    ask(server, authorization=server.basic(secret=made.secret))
    assert warnings(caplog) == []
