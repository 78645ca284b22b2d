import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from signal import SIGKILL

import pytest
from cryptography.fernet import Fernet
from sqlalchemy.exc import OperationalError

from auth_server.jwk import new_private_key
from auth_server.models import SigningKey
from auth_server.signing_keys.by_hand import add_key, rotate
from auth_server.signing_keys.change import times_of
from auth_server.signing_keys.encryption import KeysCannotBeOpenedError
from auth_server.signing_keys.life import RETIRED_SECONDS, state
from tests.unit.auth_server.running import KEY_ENCRYPTION_KEY, START
from tests.unit.auth_server.signing_keys.conftest import Place
from tests.unit.auth_server.signing_keys.racing import (
    COMMANDS,
    DAY,
    RULES,
    do_until_killed,
    processes,
    see_to_it_with_others,
)

AT_ONCE = 3
STATEMENTS = 3  # of the smallest change: lock, read, write; and it is committed
OTHER_KEY = "bm8gb3RoZXIga2V5IG9wZW5zIHdoYXQgdGhpcyBkb2U="


def states(place: Place, time: float = START) -> Counter[tuple[str, str]]:
    """Return how many keys of each algorithm are in each state."""
    times = times_of(place.store().rows())
    return Counter((key.algorithm, state(key, times, time)) for key in times)


def in_processes(place: Place, time: float) -> list[int | None]:
    """Let processes see to the keys in the same moment; return how they ended."""
    context = processes()
    arguments = (place.url, place.password, KEY_ENCRYPTION_KEY, time)
    all_ready = context.Barrier(AT_ONCE)
    started = [
        context.Process(target=see_to_it_with_others, args=(all_ready, *arguments))
        for _ in range(AT_ONCE)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=90)
    return [process.exitcode for process in started]


def do_in_a_process(work: Callable[..., None], *arguments: object) -> int | None:
    process = processes().Process(target=work, args=arguments)
    process.start()
    process.join(timeout=90)
    return process.exitcode


def in_threads(place: Place, time: float) -> list[int | None]:
    ended: list[int | None] = []
    all_ready = threading.Barrier(AT_ONCE)

    def work() -> None:
        store = place.store(time)
        store.rows()
        all_ready.wait(timeout=60)
        ended.append(0 if store.see_to_it() else 1)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=90)
    return ended


racing = pytest.mark.parametrize("race", [in_processes, in_threads])
Race = Callable[[Place, float], list[int | None]]


@racing
def test_first_keys_are_made_once_whoever_starts_at_the_same_time(place: Place, race: Race) -> None:
    assert race(place, START) == [0] * AT_ONCE
    one_each = {(name, which): 1 for name in RULES.algorithms for which in ("active", "pending")}
    assert states(place) == one_each


@racing
def test_a_rotation_that_is_due_happens_once_whoever_sees_it(place: Place, race: Race) -> None:
    place.store().see_to_it()
    later = START + 90 * DAY
    assert race(place, later) == [0] * AT_ONCE
    three_each = {
        (name, which): 1 for name in RULES.algorithms for which in ("retired", "active", "pending")
    }
    assert states(place, later) == three_each


def test_a_rotation_by_hand_in_the_moment_of_the_one_that_is_due_loses_no_key(
    place: Place,
) -> None:
    place.store().see_to_it()
    later = START + 90 * DAY
    all_ready = threading.Barrier(2)
    by_hand, by_itself = place.store(later), place.store(later)

    def rotating() -> None:
        all_ready.wait(timeout=60)
        rotate(by_hand, "Ed25519")

    thread = threading.Thread(target=rotating)
    thread.start()
    all_ready.wait(timeout=60)
    by_itself.see_to_it()
    thread.join(timeout=60)
    found = states(place, later + 400)
    assert (found["Ed25519", "active"], found["Ed25519", "pending"]) == (1, 1)
    assert found["ES256", "active"] == 1


def test_where_nothing_is_due_nothing_is_written(
    on_sqlite: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = on_sqlite.store()
    made = [row.kid for row in store.see_to_it()]

    def fail() -> None:
        raise OperationalError("BEGIN", {}, Exception("a change was begun"))

    monkeypatch.setattr(store, "changing", fail)
    assert [row.kid for row in store.see_to_it()] == made


@pytest.mark.parametrize("command", COMMANDS)
def test_wherever_a_process_is_killed_the_next_goes_on_rightly(
    on_sqlite: Place, command: str
) -> None:
    """It is killed before its first statement, then before its second, until it gets through."""
    new, lost = Fernet.generate_key().decode(), command == "replace lost"
    fernet = new if lost else f"{new} {KEY_ENCRYPTION_KEY}"
    ended: int | None = -SIGKILL
    time, steps = START, 0
    on_sqlite.store().see_to_it()
    while ended == -SIGKILL:
        time += 90 * DAY  # so that each time something is due
        ended = do_in_a_process(do_until_killed, command, steps, on_sqlite.url, fernet, time)
        steps += 1
        if not lost or ended == 0:
            store = on_sqlite.store(time + 400, fernet=fernet)
            store.see_to_it()
            store.open_all()
            found = states(on_sqlite, time + 400)
            for_each = [
                (found[name, "active"], found[name, "pending"]) for name in RULES.algorithms
            ]
            assert for_each == [(1, 1), (1, 1)]
    assert (ended, steps > STATEMENTS) == (0, True)


def test_a_process_killed_between_rotation_and_the_next_key_is_made_good(place: Place) -> None:
    """One change does both; but had a key been lost in between, whoever comes next makes it."""
    store = place.store()
    store.see_to_it()
    with store.changing() as change:
        spare = next(row for row in change.rows if row.active_from is None)
        spare.active_from = int(START)
    store.see_to_it()
    assert states(place)[spare.algorithm, "pending"] == 1


def test_a_change_that_is_cut_off_changes_nothing(place: Place) -> None:
    store = place.store()
    store.see_to_it()
    before = states(place)

    def cut_off() -> None:
        with store.changing() as change:
            change.rows[0].active_from = None
            raise ConnectionError("killed")

    with pytest.raises(ConnectionError):
        cut_off()
    assert states(place) == before


def test_a_next_key_knows_of_a_longer_max_age_that_ended_a_moment_ago(on_sqlite: Place) -> None:
    long = replace(RULES, pending_seconds=86400)
    on_sqlite.store(rules=long).see_to_it()
    store = on_sqlite.store()
    rotate(store, "Ed25519")
    spare = next(row for row in store.rows() if row.generation == 3)
    assert (spare.known_from, spare.pending_seconds) == (START + 86400, 315)


def test_a_longer_max_age_is_forgotten_with_the_keys_that_it_was_served_with(
    on_sqlite: Place,
) -> None:
    long = replace(RULES, pending_seconds=86400)
    on_sqlite.store(rules=long).see_to_it()
    known = []
    for days in (100, 200, 300):
        store = on_sqlite.store(START + days * DAY)
        store.see_to_it()
        known += [max(row.known_from for row in store.rows()) - START - days * DAY]
    assert known == [86400, 86400, 315]


def test_a_private_key_is_erased_when_the_key_is_gone(on_sqlite: Place) -> None:
    store = on_sqlite.store()
    store.see_to_it()
    rotate(store, "Ed25519")

    def erased(time: float) -> list[str]:
        rows: list[SigningKey] = on_sqlite.store(time).see_to_it()
        return [row.algorithm for row in rows if row.encrypted_private_jwk == ""]

    assert (erased(START + RETIRED_SECONDS - 1), erased(START + RETIRED_SECONDS)) == (
        [],
        ["Ed25519"],
    )


def test_no_key_is_added_where_the_others_cannot_be_opened(on_sqlite: Place) -> None:
    on_sqlite.store().see_to_it()
    wrong = on_sqlite.store(fernet=OTHER_KEY)
    with pytest.raises(KeysCannotBeOpenedError):
        add_key(wrong, "Ed25519", new_private_key("Ed25519"))
    assert sum(states(on_sqlite).values()) == 4
