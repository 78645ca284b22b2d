import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from joserfc import jwt
from joserfc.jwk import KeySet
from pydantic import SecretStr
from sqlalchemy import delete, update

from auth_server.jwk import SIGNATURES, new_private_key
from auth_server.models import SigningKey
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import (
    KeyExistsError,
    KeysCannotBeOpenedError,
    SigningKeys,
    key_encryption,
    refuse_wrong_key_encryption,
    signing_keys,
)
from shared.database import Database
from shared.health import NotReadyError

FERNET = Fernet.generate_key().decode()
PENDING, RELOAD = 300, 5


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
    def make(*algorithms: Any, fernet: str = FERNET) -> SigningKeys:
        return SigningKeys(
            empty_database,
            MultiFernet([Fernet(fernet)]),
            algorithms=algorithms or ("Ed25519",),
            reload_seconds=RELOAD,
            pending_seconds=PENDING,
            now=clock,
        )

    return make


def kid_of(token: str, keys: SigningKeys) -> str:
    published = KeySet.import_key_set({"keys": keys.published()})
    return str(jwt.decode(token, published, registry=SIGNATURES).header["kid"])


def signed_by(keys: SigningKeys) -> str:
    return kid_of(keys.sign("Ed25519", "JWT", {}), keys)


def test_the_first_key_is_made_when_it_is_needed_and_is_active(make: Make) -> None:
    keys = make()
    kid = signed_by(keys)
    assert [(row.kid, state) for row, state in keys.states()] == [(kid, "active")]


def test_a_token_has_alg_typ_and_kid_and_the_claims(make: Make) -> None:
    keys = make()
    token = keys.sign("Ed25519", "at+jwt", {"sub": "worker"})
    read = jwt.decode(token, KeySet.import_key_set({"keys": keys.published()}), registry=SIGNATURES)
    kid = keys.published()[0]["kid"]
    assert read.header == {"alg": "Ed25519", "typ": "at+jwt", "kid": kid}
    assert read.claims == {"sub": "worker"}


def test_each_algorithm_has_a_key_of_its_own(make: Make) -> None:
    keys = make("Ed25519", "ES256", "Ed25519")
    assert [jwk["alg"] for jwk in keys.published()] == ["ES256", "Ed25519"]


def test_a_second_process_uses_the_key_of_the_first(make: Make) -> None:
    first, second = make(), make()
    assert signed_by(first) == signed_by(second)


def test_processes_that_start_at_once_make_one_key(make: Make) -> None:
    processes = [make() for _ in range(4)]
    threads = [threading.Thread(target=keys.published) for keys in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({keys.published()[0]["kid"] for keys in processes}) == 1


def test_losing_the_race_for_the_first_key_is_no_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner, loser = make(), make()
    add = SigningKeys.add

    def late(self: SigningKeys, *arguments: Any, **options: Any) -> Any:
        if self is loser:
            winner.published()
            raise KeyExistsError("another process was faster")
        return add(self, *arguments, **options)

    monkeypatch.setattr(SigningKeys, "add", late)
    assert loser.published() == winner.published()


def test_a_later_key_is_published_at_once_and_does_not_sign_yet(make: Make, clock: Clock) -> None:
    keys = make()
    old = signed_by(keys)
    added = keys.add("Ed25519", new_private_key("Ed25519"))
    clock.time += RELOAD
    assert added is not None
    assert added.kid in [jwk["kid"] for jwk in keys.published()]
    assert signed_by(keys) == old
    assert [state for _, state in keys.states()] == ["active", "pending"]


def test_a_later_key_signs_when_its_time_has_come_and_the_old_stays_published(
    make: Make, clock: Clock
) -> None:
    keys = make()
    old = signed_by(keys)
    added = keys.add("Ed25519", new_private_key("Ed25519"))
    clock.time += PENDING
    assert added is not None
    assert signed_by(keys) == added.kid
    assert [state for _, state in keys.states()] == ["retired", "active"]
    assert {jwk["kid"] for jwk in keys.published()} == {old, added.kid}


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
    other.add("ES256", new_private_key("ES256"))
    clock.time += RELOAD
    assert len(keys.published()) == 2


def test_while_one_thread_reads_again_the_others_go_on(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make()
    keys.published()
    clock.time += RELOAD
    seen: list[int] = []
    rows = SigningKeys._rows

    def slow(self: SigningKeys) -> list[SigningKey]:
        other = threading.Thread(target=lambda: seen.append(len(keys.published())))
        other.start()
        other.join(timeout=10)
        return rows(self)

    monkeypatch.setattr(SigningKeys, "_rows", slow)
    keys.published()
    assert seen == [1]


def test_threads_that_wait_for_the_first_reading_share_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make()
    waiting = threading.Thread(target=keys.published)
    readings: list[int] = []
    reload = SigningKeys._reload

    def counted(self: SigningKeys, now: float) -> None:
        readings.append(1)
        waiting.start()
        reload(self, now)

    monkeypatch.setattr(SigningKeys, "_reload", counted)
    keys.published()
    waiting.join()
    assert len(readings) == 1


def test_while_the_database_is_away_the_keys_in_memory_sign(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    kid = signed_by(keys)
    with empty_database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE signing_keys")
    clock.time += RELOAD
    assert signed_by(keys) == kid


def test_a_stored_key_that_cannot_be_opened_does_not_stop_those_in_memory(
    make: Make, clock: Clock
) -> None:
    keys = make()
    kid = signed_by(keys)
    make(fernet=Fernet.generate_key().decode()).add("Ed25519", new_private_key("Ed25519"))
    clock.time += RELOAD
    assert signed_by(keys) == kid


def test_the_same_key_is_not_stored_twice(make: Make) -> None:
    keys, key = make(), new_private_key("Ed25519")
    keys.add("Ed25519", key)
    with pytest.raises(KeyExistsError):
        keys.add("Ed25519", key)


def test_a_first_key_is_left_out_where_there_is_one(make: Make) -> None:
    keys = make()
    keys.published()
    assert keys.add("Ed25519", new_private_key("Ed25519"), only_as_first=True) is None


def test_private_keys_rest_encrypted(make: Make, empty_database: Database) -> None:
    make().published()
    with empty_database.reading() as session:
        row = session.query(SigningKey).one()
    assert '"d"' not in row.encrypted_private_jwk + row.public_jwk
    assert b'"d"' in Fernet(FERNET).decrypt(row.encrypted_private_jwk)


def test_keys_of_another_key_encryption_key_cannot_be_opened(make: Make) -> None:
    make().published()
    with pytest.raises(KeysCannotBeOpenedError):
        make(fernet=Fernet.generate_key().decode()).open_all()


def test_a_wrong_key_encryption_key_is_not_ready(make: Make) -> None:
    make().published()
    with pytest.raises(NotReadyError, match="KEY_ENCRYPTION_KEY"):
        make(fernet=Fernet.generate_key().decode()).check()


def test_a_database_without_tables_is_not_ready(make: Make, empty_database: Database) -> None:
    with empty_database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE signing_keys")
    with pytest.raises(NotReadyError, match="OperationalError"):
        make().check()


def test_no_key_is_in_a_repr(make: Make) -> None:
    keys = make()
    keys.published()
    assert "private_key" not in repr(keys._loaded)


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
    assert [jwk["alg"] for jwk in keys.published()] == ["Ed25519", "RS256"]


def test_while_the_key_encryption_key_changes_both_open(
    make: Make, tmp_path: Path, empty_database: Database
) -> None:
    make("RS256").published()
    both = settings(tmp_path, Fernet.generate_key().decode(), FERNET)
    keys = signing_keys(both, empty_database)
    keys.open_all()
    assert len(keys.published()) == 1


def test_a_missing_key_encryption_key_stops_the_service_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^AUTH_SERVER_KEY_ENCRYPTION_KEY: the file .*"
                       r"secrets/auth_server_key_encryption_key is missing"):  # fmt: skip
        key_encryption(AuthServerSettings())


@pytest.mark.parametrize("text", ["", "short", "é" * 44])
def test_what_is_no_fernet_key_stops_the_service_and_is_not_shown(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(SystemExit, match="has to hold Fernet keys") as stopped:
        key_encryption(settings(tmp_path, text))
    assert not text or text not in str(stopped.value)


def test_the_wrong_key_encryption_key_stops_the_service_at_its_start(
    make: Make, tmp_path: Path
) -> None:
    make("RS256").published()
    with pytest.raises(SystemExit, match="auth_server_key_encryption_key does not open the keys"):
        refuse_wrong_key_encryption(settings(tmp_path, Fernet.generate_key().decode()))


def test_a_database_that_is_not_there_yet_does_not_stop_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_wrong_key_encryption(settings(tmp_path, FERNET))
    assert "cannot be read yet" in caplog.text


def test_a_key_retired_by_a_later_one_is_chosen_no_more(
    make: Make, clock: Clock, empty_database: Database
) -> None:
    keys = make()
    keys.published()
    added = keys.add("Ed25519", new_private_key("Ed25519"))
    with empty_database.writing() as session:
        session.execute(update(SigningKey).values(active_from=500))
    assert added is not None
    assert signed_by(make()) == added.kid
