from collections.abc import Callable

import pytest
from cryptography.fernet import Fernet

from auth_server.jwk import new_private_key
from auth_server.models import SigningKey
from auth_server.signing_keys.by_hand import (
    UnknownKeyError,
    add_key,
    reencrypt,
    replace_lost,
    revoke,
    rotate,
)
from auth_server.signing_keys.change import KeyExistsError, times_of
from auth_server.signing_keys.encryption import KeysCannotBeOpenedError
from auth_server.signing_keys.life import signers, state
from auth_server.signing_keys.plan import Rules
from auth_server.signing_keys.store import KeyStore
from tests.unit.auth_server.running import KEY_ENCRYPTION_KEY, START
from tests.unit.auth_server.signing_keys.conftest import Place

PENDING = 315
ONE = Rules(("Ed25519",), PENDING, 0)
TWO = Rules(("RS256", "Ed25519"), PENDING, 0)


def made(place: Place, time: float = START, rules: Rules = ONE) -> KeyStore:
    store = place.store(time, rules)
    store.see_to_it()
    return store


def states(store: KeyStore, time: float = START) -> list[str]:
    times = times_of(store.rows())
    return [state(key, times, time) for key in times]


def kids(store: KeyStore) -> list[str]:
    return [row.kid for row in store.rows()]


def signing(store: KeyStore, time: float = START) -> str:
    return signers(times_of(store.rows()), "Ed25519", time)[0].kid


def row_of(store: KeyStore, kid: str) -> SigningKey:
    return next(row for row in store.rows() if row.kid == kid)


def test_a_rotation_makes_the_spare_active_and_another_spare(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    active, spare = kids(store)
    assert rotate(store, "Ed25519").kid == spare
    assert (kids(store)[:2], states(store)) == ([active, spare], ["retired", "active", "pending"])


def test_a_second_rotation_waits_until_the_new_spare_is_known(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    rotate(store, "Ed25519")
    key = rotate(store, "Ed25519")
    before, then = START + PENDING - 1, START + PENDING
    assert key.active_from == then
    assert (signing(store, before) == key.kid, signing(store, then) == key.kid) == (False, True)


def test_a_rotation_under_way_is_not_made_twice(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    rotate(store, "Ed25519")
    assert rotate(store, "Ed25519").kid == rotate(store, "Ed25519").kid
    assert len(kids(store)) == 4


def test_an_algorithm_without_keys_gets_a_first_one_that_waits(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    key = rotate(store, "ES256")
    assert (key.algorithm, key.active_from) == ("ES256", START + PENDING)


def test_an_added_key_signs_as_soon_as_it_is_known_before_the_spare(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    _, spare = kids(store)
    added = add_key(store, "Ed25519", new_private_key("Ed25519"))
    assert added.active_from == START + PENDING
    assert signing(store, START + PENDING) == added.kid
    assert row_of(store, spare).active_from is None


def test_the_same_key_is_not_added_twice(on_sqlite: Place) -> None:
    store, key = made(on_sqlite), new_private_key("Ed25519")
    add_key(store, "Ed25519", key)
    with pytest.raises(KeyExistsError):
        add_key(store, "Ed25519", key)


def test_the_very_first_key_may_be_ones_own_and_signs_at_once(on_sqlite: Place) -> None:
    store = on_sqlite.store(rules=ONE)
    added = add_key(store, "Ed25519", new_private_key("Ed25519"))
    assert signing(store) == added.kid


def test_a_revoked_key_is_gone_at_once_and_the_spare_signs(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    active, spare = kids(store)
    replaced = revoke(store, [active])
    assert (replaced.kids, [key.kid for key in replaced.signing]) == ((active,), [spare])
    assert (signing(store), states(store)) == (spare, ["revoked", "active", "pending"])
    assert row_of(store, active).encrypted_private_jwk == ""


def test_it_says_until_when_copies_of_the_jwks_may_hold_the_revoked_key(
    on_sqlite: Place,
) -> None:
    store = made(on_sqlite)
    assert revoke(store, kids(store)[:1]).copies_until == START + PENDING


def test_what_a_revoked_key_had_retired_does_not_sign_again(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    first, second = kids(store)
    rotate(store, "Ed25519")
    revoke(store, [second])
    assert (states(store)[0], signing(store) in {first, second}) == ("retired", False)


def test_a_revoked_spare_is_replaced_and_the_active_key_signs_on(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    active, spare = kids(store)
    assert revoke(store, [spare]).signing == ()
    assert (signing(store), states(store)) == (active, ["active", "revoked", "pending"])


def test_a_revoked_key_that_was_to_sign_leaves_the_one_before_active(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    rotate(store, "Ed25519")
    awaited = rotate(store, "Ed25519")
    active = signing(store)
    revoke(store, [awaited.kid])
    assert signing(store, START + PENDING) == active


def test_when_all_are_revoked_new_keys_sign_at_once(on_sqlite: Place) -> None:
    store = made(on_sqlite, rules=TWO)
    old = kids(store)
    replaced = revoke(store, old)
    assert sorted(key.algorithm for key in replaced.signing) == ["Ed25519", "RS256"]
    assert [key.known_from for key in replaced.signing] == [START + PENDING] * 2
    assert sorted(states(store)) == ["active"] * 2 + ["pending"] * 2 + ["revoked"] * 4


def test_what_is_not_published_cannot_be_revoked(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    revoked = kids(store)[0]
    revoke(store, [revoked])
    for kid in ("no-such-key", revoked):
        with pytest.raises(UnknownKeyError, match=kid):
            revoke(store, [kid])


def under(place: Place, *fernets: str) -> KeyStore:
    return place.store(rules=ONE, fernet="\n".join(fernets))


def test_keys_are_encrypted_anew_with_the_first_key(on_sqlite: Place) -> None:
    made(on_sqlite)
    new = Fernet.generate_key().decode()
    both = under(on_sqlite, new, KEY_ENCRYPTION_KEY)
    assert (reencrypt(both), reencrypt(both)) == (2, 0)
    under(on_sqlite, new).open_all()


def test_while_they_are_encrypted_anew_a_process_that_has_both_opens_all(
    on_sqlite: Place,
) -> None:
    """Half of them are done, as if it had been possible to be killed between two."""
    made(on_sqlite)
    new = Fernet.generate_key().decode()
    both = under(on_sqlite, new, KEY_ENCRYPTION_KEY)
    with both.changing() as change:
        row = change.rows[0]
        opened = both.encryption.decrypt(row.encrypted_private_jwk)
        row.encrypted_private_jwk = both.encryption.encrypt(opened)
    both.open_all()
    assert reencrypt(both) == 1


def test_keys_that_none_opens_are_not_encrypted_anew(on_sqlite: Place) -> None:
    made(on_sqlite)
    stored = [row.encrypted_private_jwk for row in made(on_sqlite).rows()]
    with pytest.raises(KeysCannotBeOpenedError):
        reencrypt(under(on_sqlite, Fernet.generate_key().decode()))
    assert [row.encrypted_private_jwk for row in made(on_sqlite).rows()] == stored


def test_lost_keys_are_replaced_and_the_one_that_signed_stays_published(
    on_sqlite: Place,
) -> None:
    made(on_sqlite)
    store = under(on_sqlite, Fernet.generate_key().decode())
    replaced = replace_lost(store)
    assert len(replaced.kids) == 2
    assert states(store) == ["retired", "revoked", "active", "pending"]
    store.open_all()
    assert [key.kid for key in replaced.signing] == [signing(store)]


def test_where_no_key_is_lost_none_is_replaced(on_sqlite: Place) -> None:
    store = made(on_sqlite)
    assert (replace_lost(store).kids, states(store)) == ((), ["active", "pending"])


def test_only_what_is_lost_is_replaced(on_sqlite: Place) -> None:
    made(on_sqlite)
    new = Fernet.generate_key().decode()
    both = under(on_sqlite, new, KEY_ENCRYPTION_KEY)
    add_key(both, "Ed25519", new_private_key("Ed25519"))
    store = under(on_sqlite, new)
    assert len(replace_lost(store).kids) == 2
    assert states(store) == ["retired", "revoked", "active", "pending"]


Command = Callable[[KeyStore], object]


@pytest.mark.parametrize(
    "command",
    [
        lambda store: rotate(store, "Ed25519"),
        lambda store: add_key(store, "Ed25519", new_private_key("Ed25519")),
        lambda store: revoke(store, [row.kid for row in store.rows()][:1]),
        reencrypt,
        replace_lost,
    ],
    ids=["rotate", "add", "revoke", "reencrypt", "replace lost"],
)
def test_every_command_works_on_either_database(place: Place, command: Command) -> None:
    store = made(place)
    command(store)
    assert "active" in states(store)
    assert sorted(row.generation for row in store.rows()) == list(range(1, len(kids(store)) + 1))
