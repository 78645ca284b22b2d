from collections.abc import Callable
from dataclasses import replace

import pytest

from auth_server.models import Client
from auth_server.registry import RegistryError, state_of
from auth_server.registry.old_secret import POLL_SECONDS, OldSecret
from auth_server.registry.rotation import Delivered
from tests.unit.auth_server.registry.rotating import CLIENT, ROTATION, START, Rotating
from tests.unit.auth_server.running import Clock

LIFETIME = 300
QUIET = LIFETIME + 65


class Life:
    """What happens beside the command that waits, at its time in seconds after the rotation."""

    def __init__(self, rotating: Rotating, clock: Clock) -> None:
        self.rotating, self.clock = rotating, clock
        self.events: list[tuple[float, Callable[[], None]]] = []
        self.said: list[str] = []

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        self.events.append((START + seconds, event))

    def use(self, secret_id: str) -> Callable[[], None]:
        def note() -> None:
            client = self.rotating.registry.find_client(CLIENT)
            assert client is not None
            (secret,) = [one for one in client.secrets if one.secret_id == secret_id]
            self.rotating.registry.last_use.note(secret)

        return note

    def pause(self, seconds: float) -> None:
        self.clock.time += seconds
        for due in [one for one in self.events if one[0] <= self.clock.time]:
            self.events.remove(due)
            due[1]()

    def wait(self, delivered: Delivered) -> float:
        """Wait, and return for how many seconds that was."""
        began = self.clock.time
        database = self.rotating.database
        waiting = OldSecret(database, LIFETIME, self.clock, self.pause, self.said.append)
        waiting.end_when_unused(delivered)
        return self.clock.time - began


@pytest.fixture
def life(rotating: Rotating, clock: Clock) -> Life:
    return Life(rotating, clock)


def states(rotating: Rotating, delivered: Delivered) -> tuple[str, str | None]:
    by_id = {one.secret_id: state_of(one, rotating.now()) for one in rotating.secrets()}
    old = delivered.old
    return by_id[delivered.new.secret_id], by_id[old.secret_id] if old else None


def test_the_old_secret_ends_when_it_was_not_seen_for_a_tokens_lifetime_and_a_minute(
    rotating: Rotating, life: Life
) -> None:
    done = rotating.rotate()
    assert done.old is not None
    life.at(20, life.use(done.new.secret_id))
    life.at(100, life.use(done.old.secret_id))
    assert life.wait(done) == 100 + QUIET
    assert states(rotating, done) == ("live", "revoked")


def test_an_old_secret_that_nobody_uses_is_waited_for_from_the_rotation_on(
    rotating: Rotating, life: Life
) -> None:
    done = rotating.rotate()
    life.at(20, life.use(done.new.secret_id))
    assert life.wait(done) == QUIET


def test_it_says_what_it_waits_for_each_time_that_this_changes(
    rotating: Rotating, life: Life
) -> None:
    done = rotating.rotate()
    assert done.old is not None
    new, old = done.new.secret_id, done.old.secret_id
    life.at(20, life.use(new))
    life.at(100, life.use(old))
    life.wait(done)
    assert life.said == [
        f"waiting until the new secret {new} is used",
        f"waiting until the old secret {old} has not been seen for 365 s: "
        "2027-01-15T08:06:05+00:00 at the earliest",
        f"waiting until the old secret {old} has not been seen for 365 s: "
        "2027-01-15T08:07:45+00:00 at the earliest",
    ]


def test_while_the_new_secret_is_not_used_the_old_one_stays_until_its_own_end(
    rotating: Rotating, life: Life
) -> None:
    done = rotating.rotate(replace(ROTATION, overlap=600))
    assert life.wait(done) == 600
    assert states(rotating, done) == ("live", "expired")


def test_the_lifetime_is_the_clients_own_where_it_has_one(rotating: Rotating, life: Life) -> None:
    with rotating.database.writing() as session:
        session.get_one(Client, CLIENT).access_token_lifetime_seconds = 30
    done = rotating.rotate()
    life.at(5, life.use(done.new.secret_id))
    assert life.wait(done) == 95


def test_an_old_secret_that_was_ended_by_hand_is_waited_for_no_longer(
    rotating: Rotating, life: Life
) -> None:
    done = rotating.rotate()
    assert done.old is not None
    old = done.old.secret_id
    life.at(10, lambda: rotating.registry.secrets.revoke(CLIENT, old))
    assert life.wait(done) == 10


def test_where_the_new_secret_is_ended_the_old_one_is_left_alone(
    rotating: Rotating, life: Life
) -> None:
    done = rotating.rotate()
    life.at(10, lambda: rotating.registry.secrets.revoke(CLIENT, done.new.secret_id))
    with pytest.raises(RegistryError, match="is left alone"):
        life.wait(done)
    assert states(rotating, done) == ("revoked", "live")


def test_a_wait_that_was_given_up_changes_nothing_and_can_be_taken_up(
    rotating: Rotating, life: Life, clock: Clock
) -> None:
    done = rotating.rotate()

    def interrupt() -> None:
        raise KeyboardInterrupt

    life.at(POLL_SECONDS, interrupt)
    with pytest.raises(KeyboardInterrupt):
        life.wait(done)
    given_up = states(rotating, done)
    life.use(done.new.secret_id)()
    life.wait(done)
    assert (given_up, states(rotating, done)) == (("live", "live"), ("live", "revoked"))
    assert clock.time == START + QUIET


def test_a_first_secret_has_nothing_to_wait_for(rotating: Rotating, life: Life) -> None:
    assert life.wait(Delivered(rotating.secrets()[0], None)) == 0
