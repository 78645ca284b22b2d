import multiprocessing
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest

from auth_server.models import Client
from auth_server.registry import RegistryError, UnknownClientError, state_of
from auth_server.registry.rotation import AlreadyRotatedError, Order
from auth_server.registry.secret_delivery import SecretDelivery
from shared.vault import DirectoryVault, VaultConflictError, VaultError
from tests.unit.auth_server.registry.rotating import (
    CLIENT,
    DAY,
    ENTRY,
    ROTATION,
    START,
    STEPS,
    CutOffError,
    Place,
    Rotating,
    kill_it,
    raise_it,
)
from tests.unit.auth_server.running import Clock

SPAWN = multiprocessing.get_context("spawn")
SECONDS = 60


def states(rotating: Rotating) -> list[str]:
    return sorted(state_of(one, rotating.now()) for one in rotating.secrets())


def test_a_rotation_puts_a_new_secret_into_the_vault_and_the_old_one_ends_after_the_overlap(
    rotating: Rotating, clock: Clock
) -> None:
    old = rotating.secret_in_the_vault()
    done = rotating.rotate()
    new = rotating.secret_in_the_vault()
    assert done.old is not None
    assert (new != old, done.old.expires_at, done.new.expires_at) == (True, START + DAY, None)
    assert (rotating.authenticates(old), rotating.authenticates(new)) == (True, True)
    clock.time += DAY
    assert (rotating.authenticates(old), rotating.authenticates(new)) == (False, True)


def test_the_new_secret_is_known_by_where_it_rests(rotating: Rotating) -> None:
    new = rotating.rotate().new
    assert (new.vault_entry, new.vault_version, new.delivered_at) == (ENTRY, 2, START)
    assert rotating.vault.version(ENTRY).number == 2


def test_an_old_secret_that_ends_sooner_keeps_its_end(rotating: Rotating) -> None:
    rotating.rotate(replace(ROTATION, overlap=3600, expires_at=START + 7200))
    rotating.now = lambda: START + 3600
    done = rotating.rotate()
    assert done.old is not None
    assert done.old.expires_at == START + 7200


def test_without_an_overlap_the_old_secret_ends_at_once(rotating: Rotating) -> None:
    old = rotating.secret_in_the_vault()
    rotating.rotate(replace(ROTATION, overlap=0))
    assert rotating.authenticates(old) is False
    assert states(rotating) == ["expired", "live"]


def test_an_added_secret_leaves_the_old_one_its_end(rotating: Rotating) -> None:
    done = rotating.rotate(Order(CLIENT, ENTRY))
    assert done.old is not None
    assert done.old.expires_at is None


def test_a_second_rotation_within_the_overlap_is_refused_with_what_to_do(
    rotating: Rotating,
) -> None:
    done = rotating.rotate()
    assert done.old is not None
    with pytest.raises(AlreadyRotatedError, match="add --wait; to end it now") as refused:
        rotating.rotate()
    assert refused.value.delivered.new.secret_id == done.new.secret_id
    assert f"secrets revoke {CLIENT} {done.old.secret_id}" in str(refused.value)


def test_a_rotation_beside_two_secrets_that_stay_is_refused_with_what_to_do(
    rotating: Rotating,
) -> None:
    rotating.registry.secrets.add(CLIENT)
    before = rotating.secret_in_the_vault()
    with pytest.raises(RegistryError, match="tells which is in use; end the other"):
        rotating.rotate()
    assert rotating.secret_in_the_vault() == before


def test_a_client_with_a_key_of_its_own_gets_no_secret(rotating: Rotating) -> None:
    with rotating.database.writing() as session:
        session.get_one(Client, CLIENT).jwks = "{}"
    with pytest.raises(RegistryError, match="has no secret"):
        rotating.rotate()
    with pytest.raises(RegistryError, match="has no secret"):
        rotating.registry.secrets.add(CLIENT)


@pytest.mark.parametrize("client_id", ["nobody", "a\x00b"])
def test_an_unknown_client_can_not_be_rotated(rotating: Rotating, client_id: str) -> None:
    with pytest.raises(UnknownClientError):
        rotating.rotate(replace(ROTATION, client_id=client_id))


def test_after_the_overlap_the_next_rotation_is_done(rotating: Rotating, clock: Clock) -> None:
    rotating.rotate()
    clock.time += DAY
    rotating.rotate()
    assert states(rotating) == ["expired", "live", "live"]


@pytest.mark.parametrize("step", STEPS)
def test_a_rotation_that_is_cut_off_refuses_nobody_and_is_mended_by_the_same_command(
    any_place: Place, step: str
) -> None:
    with any_place.opened() as rotating:
        old = rotating.secret_in_the_vault()
        with pytest.raises(CutOffError):
            rotating.rotate_up_to(step, raise_it)
        cut_off = rotating.secret_in_the_vault()
        assert (rotating.authenticates(cut_off), rotating.authenticates(old)) == (True, True)
        assert len(rotating.live()) <= 2

        done = outcome_of(rotating)

        assert done == ("done already" if step == STEPS[-1] else "done")
        assert_rotated(rotating, old)


@pytest.mark.parametrize("step", [STEPS[1], STEPS[3]])
def test_a_process_that_is_killed_in_a_rotation_is_mended_by_the_same_command(
    any_place: Place, step: str
) -> None:
    with any_place.opened() as opened:
        old = opened.secret_in_the_vault()
    killed = SPAWN.Process(target=be_killed, args=(any_place, step))
    killed.start()
    killed.join(SECONDS)
    assert killed.exitcode == -signal.SIGKILL

    with any_place.opened() as opened:
        assert opened.authenticates(opened.secret_in_the_vault()) is True
        assert outcome_of(opened) == "done"
        assert_rotated(opened, old)


def be_killed(place: Place, step: str) -> None:
    with place.opened() as opened:
        opened.rotate_up_to(step, kill_it)


def outcome_of(rotating: Rotating) -> str:
    try:
        rotating.rotate()
    except AlreadyRotatedError:
        return "done already"
    except (RegistryError, VaultConflictError) as error:
        return str(error)
    return "done"


def assert_rotated(rotating: Rotating, old: str) -> None:
    """The vault and the register agree: one new secret, and the old one with its end."""
    new = rotating.secret_in_the_vault()
    live = rotating.live()
    assert (rotating.authenticates(new), rotating.authenticates(old), new != old) == (True,) * 3
    assert sorted(one.expires_at or 0 for one in live) == [0, START + DAY]
    held = [one.vault_version for one in live if one.expires_at is None]
    assert held == [rotating.vault.version(ENTRY).number]


@pytest.mark.parametrize("step", STEPS[:4])
def test_a_first_secret_that_was_cut_off_is_mended_by_adding_one(
    rotating: Rotating, step: str
) -> None:
    order = Order(CLIENT, "another-entry")
    with pytest.raises(CutOffError):
        rotating.rotate_up_to(step, raise_it, order)
    rotating.rotate(order)
    secret = rotating.vault.read("another-entry")["client_secret"]
    assert (rotating.authenticates(secret), len(rotating.live())) == (True, 2)


def test_a_rotation_after_a_first_secret_that_was_cut_off_makes_a_new_one(
    rotating: Rotating,
) -> None:
    (only,) = rotating.secrets()
    with rotating.database.writing() as session:
        session.get_one(type(only), only.secret_id).delivered_at = None
    done = rotating.rotate()
    assert done.old is not None
    assert (done.old.secret_id, done.old.delivered_at) == (only.secret_id, START)


def test_a_rotation_into_another_entry_than_the_one_cut_off_is_refused(rotating: Rotating) -> None:
    with pytest.raises(CutOffError):
        rotating.rotate_up_to(STEPS[3], raise_it)
    with pytest.raises(RegistryError, match="2 live secrets"):
        rotating.rotate(replace(ROTATION, entry="another-entry"))
    assert rotating.authenticates(rotating.secret_in_the_vault()) is True


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_of_rotations_at_the_same_moment_one_is_done_and_no_reader_of_the_vault_is_refused(
    any_place: Place, kind: str
) -> None:
    done = threading.Event()
    with any_place.opened() as opened:
        old = opened.secret_in_the_vault()
        reader = ThreadPoolExecutor(1).submit(refusals_until, opened, done)
        pool = ThreadPoolExecutor(4) if kind == "threads" else ProcessPoolExecutor(2, SPAWN)
        try:
            with pool:
                outcomes = list(pool.map(rotate_at, [any_place] * 6))
        finally:
            done.set()
        read, refused = reader.result(SECONDS)

        assert (outcomes.count("done"), refused, read > 0) == (1, 0, True)
        assert set(outcomes) - {"done", "done already"} == {
            one for one in outcomes if "ended by another command" in one
        }
        assert_rotated(opened, old)


def rotate_at(place: Place) -> str:
    with place.opened() as opened:
        return outcome_of(opened)


def refusals_until(rotating: Rotating, done: threading.Event) -> tuple[int, int]:
    """Read the vault and authenticate, again and again; return how often, and how many failed."""
    answers = []
    while not done.is_set():
        answers.append(rotating.authenticates(rotating.secret_in_the_vault()))
    return len(answers), answers.count(False)


def test_a_secret_that_another_command_ended_is_not_put_into_the_vault(rotating: Rotating) -> None:
    before = rotating.secret_in_the_vault()
    delivery = SecretDelivery(rotating.database, rotating.vault, rotating.now)
    late = delivery._begin(ROTATION)
    rotating.rotate()
    with pytest.raises(RegistryError, match="ended by another command"):
        delivery.deliver(late)  # type: ignore[arg-type]  # nothing was cut off: it is a NewSecret
    assert rotating.secret_in_the_vault() != before
    assert rotating.authenticates(rotating.secret_in_the_vault()) is True


class OvertakenVault(DirectoryVault):
    """Somebody else writes the entry just before each write."""

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        super().write(entry, {"client_secret": "of somebody else"})
        return super().write(entry, fields, expected_version)


def test_where_somebody_else_writes_the_entry_the_new_secret_ends_and_the_old_one_does_not(
    rotating: Rotating,
) -> None:
    old = rotating.secret_in_the_vault()
    overtaken = OvertakenVault(rotating.place.vault)
    with pytest.raises(VaultConflictError):
        SecretDelivery(rotating.database, overtaken, rotating.now).fulfil(ROTATION)
    assert states(rotating) == ["live", "revoked"]
    assert (rotating.authenticates(old), rotating.live()[0].expires_at) == (True, None)

    rotating.rotate()
    assert rotating.authenticates(rotating.secret_in_the_vault()) is True


def test_a_version_that_was_deleted_is_no_delivery(rotating: Rotating) -> None:
    with pytest.raises(CutOffError):
        rotating.rotate_up_to(STEPS[3], raise_it)
    for file in (rotating.place.vault / ENTRY / "..data").iterdir():
        file.unlink()
    rotating.rotate()
    assert states(rotating) == ["live", "live", "revoked"]
    assert rotating.vault.version(ENTRY).number == 3


class LateVault(DirectoryVault):
    """A vault on a server: what was sent to it may still be under way."""

    late_write_seconds = 10.0


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is lost"])
def test_a_write_that_may_still_arrive_is_waited_for(
    rotating: Rotating, clock: Clock, arrives: bool
) -> None:
    said: list[str] = []
    vault = LateVault(rotating.place.vault)

    def pause(seconds: float) -> None:
        clock.time += seconds
        if arrives:
            vault.write(ENTRY, {"client_secret": "what was under way"}, expected_version=1)

    with pytest.raises(CutOffError):
        rotating.rotate_up_to(STEPS[2], raise_it)
    (cut_off,) = [one for one in rotating.secrets() if one.delivered_at is None]
    clock.time += 2
    delivery = SecretDelivery(rotating.database, vault, clock, pause, said.append)
    done = delivery.fulfil(ROTATION)

    assert said == [
        "a command on worker was cut off a moment ago: waiting 8 s, as its secret may still reach "
        "the vault"
    ]
    assert (done.new.secret_id == cut_off.secret_id) is arrives
    assert states(rotating) == (["live", "live"] if arrives else ["live", "live", "revoked"])


class UnreachableVault(DirectoryVault):
    """Says nothing after it was written."""

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        super().write(entry, fields, expected_version)
        raise VaultError("the vault cannot be reached")


def test_a_write_of_which_nobody_knows_whether_it_was_done_is_found_by_the_same_command(
    rotating: Rotating,
) -> None:
    silent = UnreachableVault(rotating.place.vault)
    with pytest.raises(VaultError, match="cannot be reached"):
        SecretDelivery(rotating.database, silent, rotating.now).fulfil(ROTATION)
    in_the_vault = rotating.secret_in_the_vault()
    assert rotating.authenticates(in_the_vault) is True

    rotating.rotate()
    assert rotating.secret_in_the_vault() == in_the_vault
