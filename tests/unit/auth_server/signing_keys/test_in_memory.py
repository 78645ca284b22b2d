import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from joserfc import jwt
from joserfc.jwk import JWKRegistry, KeySet
from pydantic import SecretStr
from sqlalchemy import delete

from auth_server.jwk import SIGNATURES, new_private_key
from auth_server.models import SigningKey
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import refuse_wrong_key_encryption, signing_keys
from auth_server.signing_keys.by_hand import add_key, revoke, rotate
from auth_server.signing_keys.encryption import KeyEncryption, KeysCannotBeOpenedError
from auth_server.signing_keys.in_memory import Freshness, SigningKeys
from auth_server.signing_keys.plan import Rules
from auth_server.signing_keys.store import KeyStore, PrivatePart
from shared.database import Database
from shared.health import NotReadyError

FERNET = Fernet.generate_key().decode()
MAX_AGE, RELOAD, SKEW, OUTAGE = 300, 5, 10, 60
PENDING = MAX_AGE + RELOAD + SKEW
DAY = 86400


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., SigningKeys]


@pytest.fixture
def make(empty_database: Database, clock: Clock) -> Make:
    def make(*algorithms: Any, fernet: str = FERNET, active_days: int = 0) -> SigningKeys:
        encryption = KeyEncryption(lambda: fernet, "AUTH_SERVER_KEY_ENCRYPTION_KEY: the file")
        rules = Rules(algorithms or ("Ed25519",), PENDING, active_days * DAY)
        store = KeyStore(empty_database, encryption, rules, clock)
        return SigningKeys(store, Freshness(RELOAD, OUTAGE, MAX_AGE))

    return make


def kid_of(token: str, keys: SigningKeys) -> str:
    published = KeySet.import_key_set({"keys": keys.published()})
    return str(jwt.decode(token, published, registry=SIGNATURES).header["kid"])


def signed_by(keys: SigningKeys) -> str:
    return kid_of(keys.sign("Ed25519", "JWT", {}), keys)


def active_and_spare(keys: SigningKeys) -> tuple[str, str]:
    active, spare = (jwk["kid"] for jwk in keys.published())
    return active, spare


def drop_the_table(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE signing_keys")


def test_the_first_key_is_made_when_it_is_needed_and_is_active(make: Make) -> None:
    keys = make()
    assert signed_by(keys) == active_and_spare(keys)[0]


def test_a_next_key_is_published_from_the_start(make: Make) -> None:
    kids = active_and_spare(make())
    assert len(set(kids)) == 2


def test_a_token_has_alg_typ_and_kid_and_the_claims(make: Make) -> None:
    keys = make()
    token = keys.sign("Ed25519", "at+jwt", {"sub": "worker"})
    read = jwt.decode(token, KeySet.import_key_set({"keys": keys.published()}), registry=SIGNATURES)
    kid = active_and_spare(keys)[0]
    assert read.header == {"alg": "Ed25519", "typ": "at+jwt", "kid": kid}
    assert read.claims == {"sub": "worker"}


def test_each_algorithm_has_a_key_of_its_own_and_a_next_one(make: Make) -> None:
    keys = make("Ed25519", "ES256")
    assert [jwk["alg"] for jwk in keys.published()] == ["ES256"] * 2 + ["Ed25519"] * 2


def test_a_second_process_uses_the_key_of_the_first(make: Make) -> None:
    first, second = make(), make()
    assert signed_by(first) == signed_by(second)


def test_a_rotation_while_the_next_key_is_known_takes_effect_at_once(
    make: Make, clock: Clock
) -> None:
    keys = make()
    old, spare = active_and_spare(keys)
    clock.time += PENDING
    rotate(keys.store, "Ed25519")
    clock.time += RELOAD
    assert signed_by(keys) == spare
    assert {old, spare} < {jwk["kid"] for jwk in keys.published()}


def test_a_key_takes_over_by_itself_after_its_days(make: Make, clock: Clock) -> None:
    keys = make(active_days=90)
    old, spare = active_and_spare(keys)
    clock.time += 90 * DAY - 1
    before = signed_by(keys)
    clock.time += RELOAD
    assert (before, signed_by(keys)) == (old, spare)


def test_with_0_days_no_key_takes_over_by_itself(make: Make, clock: Clock) -> None:
    keys = make(active_days=0)
    old, _ = active_and_spare(keys)
    clock.time += 5000 * DAY
    assert signed_by(keys) == old


def test_the_old_algorithm_signs_until_the_new_one_is_known(make: Make, clock: Clock) -> None:
    make("RS256").published()
    keys = make("RS256", "Ed25519")
    algorithms = []
    for passing in (0, PENDING - 1, 1):
        clock.time += passing
        token = keys.sign("Ed25519", "at+jwt", {})
        published = KeySet.import_key_set({"keys": keys.published()})
        algorithms.append(jwt.decode(token, published, registry=SIGNATURES).header["alg"])
    assert algorithms == ["RS256", "RS256", "Ed25519"]


def test_a_process_whose_clock_is_behind_signs_with_the_first_key(make: Make, clock: Clock) -> None:
    kid = signed_by(make())
    clock.time -= 60
    assert signed_by(make()) == kid


def test_keys_are_not_read_again_before_their_time(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    kid = signed_by(keys)
    with empty_database.writing() as session:
        session.execute(delete(SigningKey))
    clock.time += RELOAD - 1
    assert signed_by(keys) == kid


def test_keys_are_read_again_after_their_time(make: Make, clock: Clock) -> None:
    keys, other = make(), make()
    keys.published()
    add_key(other.store, "ES256", new_private_key("ES256"))
    clock.time += RELOAD
    assert "ES256" in [jwk["alg"] for jwk in keys.published()]


def test_while_one_thread_reads_again_the_others_go_on(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make()
    keys.published()
    clock.time += RELOAD
    seen: list[int] = []
    see_to_it = KeyStore.see_to_it

    def slow(self: KeyStore) -> list[SigningKey]:
        other = threading.Thread(target=lambda: seen.append(len(keys.published())))
        other.start()
        other.join(timeout=10)
        return see_to_it(self)

    monkeypatch.setattr(KeyStore, "see_to_it", slow)
    keys.published()
    assert seen == [2]


def test_threads_that_wait_for_the_first_reading_share_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make()
    waiting = threading.Thread(target=keys.published)
    readings: list[int] = []
    see_to_it = KeyStore.see_to_it

    def counted(self: KeyStore) -> list[SigningKey]:
        readings.append(1)
        waiting.start()
        return see_to_it(self)

    monkeypatch.setattr(KeyStore, "see_to_it", counted)
    keys.published()
    waiting.join()
    assert len(readings) == 1


def test_while_the_database_is_away_the_keys_in_memory_sign(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    kid = signed_by(keys)
    drop_the_table(empty_database)
    clock.time += RELOAD + OUTAGE
    assert signed_by(keys) == kid


def test_a_database_that_is_away_is_not_asked_by_every_request(
    make: Make, clock: Clock, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make()
    keys.published()
    drop_the_table(empty_database)
    tries: list[float] = []
    rows = KeyStore.see_to_it

    def counted(self: KeyStore) -> list[SigningKey]:
        tries.append(clock.time)
        return rows(self)

    monkeypatch.setattr(KeyStore, "see_to_it", counted)
    for _ in range(RELOAD * 2):
        clock.time += 1
        keys.published()
    assert tries == [1000 + RELOAD, 1000 + 2 * RELOAD]


def test_a_clock_that_is_set_back_makes_what_was_read_old(make: Make, clock: Clock) -> None:
    keys, other = make(), make()
    keys.published()
    add_key(other.store, "ES256", new_private_key("ES256"))
    clock.time -= RELOAD
    assert "ES256" in [jwk["alg"] for jwk in keys.published()]


def test_a_revocation_is_heard_of_though_nothing_can_be_written(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make()
    old, spare = active_and_spare(keys)
    revoke(make().store, [old])

    def fail(self: KeyStore) -> list[SigningKey]:
        raise KeysCannotBeOpenedError("the next key cannot be encrypted")

    monkeypatch.setattr(KeyStore, "see_to_it", fail)
    clock.time += RELOAD
    assert signed_by(keys) == spare


def test_a_next_key_that_cannot_be_opened_does_not_stop_those_that_can(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    old, spare = active_and_spare(keys)
    with empty_database.writing() as session:
        session.get_one(SigningKey, spare).encrypted_private_jwk = "of another key"
    keys = make()
    assert (signed_by(keys), spare in {jwk["kid"] for jwk in keys.published()}) == (old, True)
    with pytest.raises(NotReadyError, match="does not open"):
        keys.check()


def test_where_the_newest_cannot_be_opened_the_one_before_signs_on_for_a_time(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    old, spare = active_and_spare(keys)
    with empty_database.writing() as session:
        session.get_one(SigningKey, spare).encrypted_private_jwk = "of another key"
    keys = make()
    keys.published()
    with empty_database.writing() as session:
        session.get_one(SigningKey, spare).active_from = int(clock.time) + RELOAD
    clock.time += RELOAD + 3000
    assert signed_by(keys) == old
    clock.time += 3000
    with pytest.raises(KeysCannotBeOpenedError):
        keys.sign("Ed25519", "JWT", {})


def test_what_is_stored_as_a_key_and_is_none_is_not_ready_and_not_signed_with(
    make: Make, empty_database: Database, clock: Clock
) -> None:
    keys = make()
    old, spare = active_and_spare(keys)
    no_key = b'{"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}'
    with empty_database.writing() as session:
        row = session.get_one(SigningKey, spare)
        row.encrypted_private_jwk = Fernet(FERNET).encrypt(no_key).decode()
        row.active_from = int(clock.time) + RELOAD
    keys = make()

    with pytest.raises(NotReadyError, match="does not open"):
        keys.check()
    assert spare in {jwk["kid"] for jwk in keys.published()}
    clock.time += RELOAD
    assert signed_by(keys) == old


def test_a_key_is_made_when_it_is_first_to_sign_and_never_again(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    active, spare = active_and_spare(make())
    made: list[str] = []
    make_it = JWKRegistry.import_key

    def note(jwk: Any, *rest: Any, **more: Any) -> Any:
        made.append(jwk["kid"])
        return make_it(jwk, *rest, **more)

    keys = make()
    keys.published()
    monkeypatch.setattr(JWKRegistry, "import_key", note)
    for _ in range(3):
        keys.sign("Ed25519", "JWT", {})
        keys.sign("Ed25519", "at+jwt", {})
        clock.time += RELOAD
    assert made == [active]
    keys.check()
    assert made == [active, spare]


def test_threads_that_want_a_key_at_once_make_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    private_jwk = json.dumps(new_private_key("Ed25519").as_dict(private=True)).encode()
    made: list[object] = []
    make_it = JWKRegistry.import_key

    def slowly(jwk: Any) -> Any:
        made.append(jwk)
        time.sleep(0.05)  # so that without a lock the others come meanwhile
        return make_it(jwk)

    monkeypatch.setattr(JWKRegistry, "import_key", slowly)
    part = PrivatePart(private_jwk)
    with ThreadPoolExecutor(4) as threads:
        keys = [future.result() for future in [threads.submit(part.key) for _ in range(4)]]

    assert (len(made), len(set(map(id, keys)))) == (1, 1)
    assert private_jwk not in vars(part).values()


def test_private_keys_rest_encrypted(make: Make, empty_database: Database) -> None:
    make().published()
    with empty_database.reading() as session:
        rows = session.query(SigningKey).all()
    assert [row for row in rows if '"d"' in row.encrypted_private_jwk + row.public_jwk] == []
    opened = [Fernet(FERNET).decrypt(row.encrypted_private_jwk) for row in rows]
    assert [b'"d"' in one for one in opened] == [True, True]


def test_a_wrong_key_encryption_key_is_not_ready_and_signs_nothing(make: Make) -> None:
    make().published()
    wrong = make(fernet=Fernet.generate_key().decode())
    with pytest.raises(NotReadyError, match="KEY_ENCRYPTION_KEY"):
        wrong.check()
    with pytest.raises(KeysCannotBeOpenedError):
        wrong.sign("Ed25519", "JWT", {})


def test_a_wrong_key_encryption_key_still_lets_others_verify(make: Make) -> None:
    published = make().published()
    assert make(fernet=Fernet.generate_key().decode()).published() == published


def test_a_database_without_tables_is_not_ready(make: Make, empty_database: Database) -> None:
    drop_the_table(empty_database)
    with pytest.raises(NotReadyError, match="OperationalError"):
        make().check()


def test_keys_that_are_too_old_are_not_ready(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    keys.check()
    drop_the_table(empty_database)
    clock.time += RELOAD + OUTAGE + 1
    with pytest.raises(NotReadyError, match="too long"):
        keys.check()


def test_no_key_is_in_a_repr(make: Make) -> None:
    keys = make()
    keys.published()
    assert "private" not in repr(keys.view)


def settings(tmp_path: Path, *fernets: str) -> AuthServerSettings:
    return AuthServerSettings(
        database_url=f"sqlite:///{tmp_path / 'empty.db'}",
        key_encryption_key=SecretStr("\n".join(fernets)),
    )


def test_the_settings_want_rs256_and_the_access_tokens_algorithm(
    tmp_path: Path, empty_database: Database
) -> None:
    wanted = settings(tmp_path, FERNET).model_copy(update={"access_token_algorithm": "Ed25519"})
    keys = signing_keys(wanted, empty_database)
    assert {jwk["alg"] for jwk in keys.published()} == {"Ed25519", "RS256"}


def test_the_settings_say_how_long_a_key_is_pending(
    tmp_path: Path, empty_database: Database
) -> None:
    wanted = settings(tmp_path, FERNET).model_copy(
        update={"metadata_max_age_seconds": 60, "key_reload_seconds": 2, "key_active_days": 3}
    )
    assert signing_keys(wanted, empty_database).store.rules == Rules(("RS256",), 72, 3 * DAY)


def test_the_wrong_key_encryption_key_stops_the_service_at_its_start(
    make: Make, tmp_path: Path
) -> None:
    make("RS256").published()
    with pytest.raises(
        SystemExit, match=r"key_encryption_key does not open .* `keys replace-lost`"
    ):
        refuse_wrong_key_encryption(settings(tmp_path, Fernet.generate_key().decode()))


def test_a_database_that_is_not_there_yet_does_not_stop_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_wrong_key_encryption(settings(tmp_path, FERNET))
    assert "cannot be read yet" in caplog.text
