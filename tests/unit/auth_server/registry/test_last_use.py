import time

import pytest
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from auth_server.models import ClientSecret
from auth_server.registry import LiveSecret
from auth_server.registry.last_use import LastUse
from shared.database import BUSY_TIMEOUT_SECONDS
from tests.unit.auth_server.registry.rotating import CLIENT, START, Place, Rotating
from tests.unit.auth_server.running import Clock


def live(rotating: Rotating) -> LiveSecret:
    client = rotating.registry.find_client(CLIENT)
    assert client is not None
    return client.secrets[0]


def noted(rotating: Rotating) -> int | None:
    return rotating.secrets()[0].last_used_at


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
    assert f"the use of the secret {secret.secret_id} is not noted" in caplog.text


def test_a_secret_that_is_there_no_more_is_no_error(rotating: Rotating) -> None:
    rotating.registry.last_use.note(LiveSecret("0" * 64, None, "gone"))
    assert noted(rotating) is None
