import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread, Timer

import pytest
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from auth_server.models import ClientSecret
from auth_server.registry import LiveSecret
from auth_server.registry import last_use as module
from auth_server.registry.last_use import LastUse
from shared.database import BUSY_TIMEOUT_SECONDS, Database
from tests.unit.auth_server.registry.rotating import CLIENT, START, Place, Rotating
from tests.unit.auth_server.running import Clock


def live(rotating: Rotating) -> LiveSecret:
    client = rotating.registry.find_client(CLIENT)
    assert client is not None
    return client.secrets[0]


def noted(rotating: Rotating) -> int | None:
    return rotating.secrets()[0].last_used_at


def timers_of(uses: LastUse) -> list[Timer]:
    """Return those that run for ``uses``: another test's may run too, and start others."""
    running = (thread for thread in threading.enumerate() if isinstance(thread, Timer))
    return [timer for timer in running if weakref.ref(uses) in tuple(timer.args)]


def test_a_use_is_noted(any_place: Place) -> None:
    with any_place.opened() as rotating:
        rotating.registry.last_use.note(live(rotating))
        assert (noted(rotating), live(rotating).last_used_at) == (START, START)


def test_a_secret_that_another_writes_is_not_waited_for(any_place: Place) -> None:
    with any_place.opened() as rotating:
        secret = live(rotating)
        with rotating.database.writing() as session:
            session.execute(update(ClientSecret).values(created_at=0))
            began = time.monotonic()
            rotating.registry.last_use.note(secret)
            took = time.monotonic() - began
        assert noted(rotating) is None
        assert took < BUSY_TIMEOUT_SECONDS / 2


def test_a_time_in_the_future_is_put_right(rotating: Rotating, clock: Clock) -> None:
    uses = LastUse(rotating.database, clock)
    uses.note(live(rotating))
    clock.time -= 3600  # it was wrong, and was put back
    uses.note(live(rotating))
    assert noted(rotating) == START - 3600


def test_a_database_that_is_gone_is_a_line_in_the_log(
    rotating: Rotating, caplog: pytest.LogCaptureFixture
) -> None:
    secret = live(rotating)
    with rotating.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE client_secrets RENAME TO gone")
    with pytest.raises(SQLAlchemyError):
        noted(rotating)
    rotating.registry.last_use.note(secret)
    assert "the use of 1 secrets is not noted yet: OperationalError" in caplog.text


def test_a_secret_that_is_there_no_more_is_no_error(rotating: Rotating) -> None:
    rotating.registry.last_use.note(LiveSecret("0" * 64, None, "gone"))
    assert noted(rotating) is None


@contextmanager
def locked(database: Database) -> Iterator[None]:
    with database.writing() as session:
        session.execute(update(ClientSecret).values(created_at=0))
        yield


def all_noted(rotating: Rotating) -> set[int | None]:
    return {secret.last_used_at for secret in rotating.secrets()}


def wait_until(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


def two_secrets(rotating: Rotating) -> tuple[LiveSecret, LiveSecret]:
    rotating.registry.secrets.add(CLIENT)
    client = rotating.registry.find_client(CLIENT)
    assert client is not None
    first, second = client.secrets
    return first, second


def test_what_is_used_within_a_second_is_written_a_moment_later_though_nobody_else_comes(
    any_place: Place,
) -> None:
    with any_place.opened() as rotating:
        uses, secrets = LastUse(rotating.database, rotating.now), two_secrets(rotating)
        for secret in secrets:
            uses.note(secret)
        at_first = all_noted(rotating)
        assert wait_until(lambda: all_noted(rotating) == {START})
        assert at_first == {START, None}


def test_a_use_is_left_to_the_timer_that_is_about_to_write(
    rotating: Rotating, clock: Clock
) -> None:
    uses, (first, second) = LastUse(rotating.database, clock), two_secrets(rotating)
    uses.note(first)
    clock.time += 0.5
    uses.note(second)  # for the timer
    clock.time += 0.5
    uses.note(second)
    at_once = all_noted(rotating)

    assert wait_until(lambda: None not in all_noted(rotating))
    assert at_once == {START, None}


def test_no_request_waits_while_others_are_written(rotating: Rotating) -> None:
    uses, secret = LastUse(rotating.database, rotating.now), live(rotating)
    with uses._writing:
        request = Thread(target=uses.note, args=(secret,), daemon=True)
        request.start()
        request.join(5)
        is_answered = not request.is_alive()

    assert is_answered
    assert wait_until(lambda: noted(rotating) == START)


def test_while_a_write_hangs_there_is_one_timer(
    rotating: Rotating, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITTEN_EVERY_SECONDS", 0.01)
    uses, secret = LastUse(rotating.database, clock), live(rotating)

    def ask_again_and_again() -> None:
        for _ in range(20):
            uses.note(secret)
            time.sleep(0.02)

    with uses._writing:
        requests = Thread(target=ask_again_and_again, daemon=True)
        requests.start()
        requests.join(5)
        hanging = timers_of(uses)

    assert len(hanging) == 1
    assert wait_until(lambda: noted(rotating) == START)


def test_what_another_process_noted_is_left_and_the_rest_is_written(any_place: Place) -> None:
    with any_place.opened() as rotating:
        secrets = two_secrets(rotating)
        LastUse(rotating.database, lambda: START - 30).note(secrets[0])
        uses = LastUse(rotating.database, rotating.now)
        for secret in secrets:
            uses.note(secret)
        uses.write()
        assert all_noted(rotating) == {START - 30, START}


def test_what_could_not_be_written_is_written_though_nobody_else_comes(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    uses, secret = LastUse(rotating.database, rotating.now), live(rotating)
    with locked(rotating.database):
        uses.note(secret)
        assert noted(rotating) is None
    assert wait_until(lambda: noted(rotating) == START)


def test_of_what_cannot_be_written_only_so_much_is_kept(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_UNWRITTEN", 1)
    uses, secrets = LastUse(rotating.database, rotating.now), two_secrets(rotating)
    with locked(rotating.database):
        for secret in secrets:
            uses.note(secret)
        uses.write()
    uses.write()
    last = [secret.last_used_at for secret in rotating.secrets()]
    assert sorted(last, key=str) == [START, None]


def test_many_uses_are_written_some_at_a_time(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 1)
    uses = LastUse(rotating.database, rotating.now)
    for secret in two_secrets(rotating):
        uses.note(secret)
    uses.write()
    assert all_noted(rotating) == {START}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_however_many_are_written_each_is_noted(rotating: Rotating, count: int) -> None:
    uses = LastUse(rotating.database, rotating.now)
    for secret in [live(rotating), *(LiveSecret("", None, str(one)) for one in range(1, count))]:
        uses.note(secret)
    uses.write()
    assert noted(rotating) == START


def test_a_process_that_ends_writes_what_it_has(rotating: Rotating) -> None:
    two_secrets(rotating)
    program = f"""
from auth_server.registry import Registry
from shared.database import Database
registry = Registry(Database({rotating.place.url!r}), lambda: {START})
for secret in registry.find_client({CLIENT!r}).secrets:
    registry.last_use.note(secret)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert all_noted(rotating) == {START}
