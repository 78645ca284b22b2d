import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.settings import VaultSettings
from shared.vault import (
    EntryNotFoundError,
    EntryVersion,
    VaultAnswerError,
    VaultConflictError,
    VaultError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultSealedError,
    VaultUnreachableError,
    open_vault,
)
from shared.vault.app_role import AppRole
from shared.vault.openbao import OpenBaoVault
from shared.vault.server import VaultServer
from tests.stack.loopback import LoopbackServer, Reply
from tests.stack.missing_package import without_package
from tests.stack.openbao import LOGIN, RENEWAL, ROLE_ID, SECRET_ID, OpenBaoInMemory
from tests.stack.tls import own_certificate

OLD = {"client_id": "bank-reconciler", "client_secret": "old"}
TELLING = {"client_secret": "f1eld-value"}
NEW = {"client_id": "bank-reconciler", "client_secret": "new"}


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[OpenBaoInMemory]:
    with OpenBaoInMemory(LoopbackServer()) as running:
        yield running


OpenVault = Callable[..., OpenBaoVault]


@pytest.fixture
def open_it(server: OpenBaoInMemory, clock: Clock) -> OpenVault:
    def vault(secret_id: str = SECRET_ID, patience_seconds: float = 5) -> OpenBaoVault:
        asked = VaultServer(server.http.url, timeout_seconds=(patience_seconds, patience_seconds))
        return OpenBaoVault(asked, AppRole(asked, SecretStr(ROLE_ID), SecretStr(secret_id), clock))

    return vault


@pytest.fixture
def vault(open_it: OpenVault) -> OpenBaoVault:
    return open_it()


def test_nothing_is_asked_before_it_is_needed(vault: OpenBaoVault, server: OpenBaoInMemory) -> None:
    assert server.http.asked == []


def test_what_is_written_can_be_read(vault: OpenBaoVault) -> None:
    vault.write("bank", OLD)

    assert vault.read("bank") == OLD


def test_a_write_is_one_version_that_replaces_every_field(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    vault.write("bank", OLD | {"old_field": "x"})
    vault.write("bank", NEW)

    assert vault.read("bank") == NEW
    assert len(server.versions) == 2


def test_a_write_returns_the_number_of_its_version(vault: OpenBaoVault) -> None:
    assert [vault.write("bank", OLD), vault.write("bank", NEW)] == [1, 2]


def test_an_entry_that_was_never_written_is_at_version_0(vault: OpenBaoVault) -> None:
    assert vault.version("bank") == EntryVersion(0, is_readable=False)


def test_the_newest_version_is_told_without_reading_the_entry(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.versions = [OLD, NEW]

    assert vault.version("bank") == EntryVersion(2, is_readable=True)
    assert server.path not in server.http.paths()


def test_a_deleted_version_keeps_its_number_and_can_not_be_read(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.versions = [OLD, None]

    assert vault.version("bank") == EntryVersion(2, is_readable=False)


def test_a_version_that_will_be_deleted_one_day_can_be_read(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.versions, server.deletion_time = [None], "2999-01-01T00:00:00.123456789Z"

    assert vault.version("bank") == EntryVersion(1, is_readable=True)


def test_a_destroyed_version_can_not_be_read(vault: OpenBaoVault, server: OpenBaoInMemory) -> None:
    server.versions, server.destroyed = [OLD], True

    assert vault.version("bank") == EntryVersion(1, is_readable=False)


@pytest.mark.parametrize("versions", [[], [OLD], [OLD, None]], ids=["none", "one", "deleted"])
def test_a_write_over_the_expected_version_is_done(
    vault: OpenBaoVault, server: OpenBaoInMemory, versions: list[Any]
) -> None:
    server.versions = list(versions)

    assert vault.write("bank", NEW, expected_version=len(versions)) == len(versions) + 1
    assert vault.read("bank") == NEW


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_write_over_another_version_than_the_expected_is_a_conflict_and_changes_nothing(
    vault: OpenBaoVault, server: OpenBaoInMemory, expected: int
) -> None:
    server.versions = [OLD, OLD]

    with pytest.raises(VaultConflictError, match=f"is at version 2, not {expected}"):
        vault.write("bank", NEW, expected_version=expected)
    assert server.versions == [OLD, OLD]


def test_of_two_writers_of_the_same_version_one_wins(
    open_it: OpenVault, server: OpenBaoInMemory
) -> None:
    outcomes = ThreadPoolExecutor().map(lambda _: outcome_of_a_first_write(open_it()), range(4))

    assert sorted(outcomes) == ["VaultConflictError"] * 3 + ["written"]
    assert len(server.versions) == 1


def outcome_of_a_first_write(vault: OpenBaoVault) -> str:
    try:
        vault.write("bank", NEW, expected_version=0)
    except VaultError as error:
        return type(error).__name__
    return "written"


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply(500), "500 to a read of secret/bank's versions$"),
        (Reply(200, {}), "no number of a version for secret/bank$"),
        (Reply(200, {"data": {"current_version": True}}), "no number of a version"),
        (Reply(200, {"data": {"current_version": -1}}), "no number of a version"),
        (
            Reply(200, {"data": {"current_version": 1, "versions": {"1": {"deletion_time": "?"}}}}),
            "no version's times for secret/bank$",
        ),
        (
            Reply(200, {"data": {"current_version": 1, "versions": {"1": {"deletion_time": 7}}}}),
            "no version's times for secret/bank$",
        ),
    ],
    ids=["500", "empty", "no number", "negative", "no time", "a number for a time"],
)
def test_versions_that_cannot_be_used_are_told_in_one_line(
    vault: OpenBaoVault, server: OpenBaoInMemory, reply: Reply, what: str
) -> None:
    server.http.reply(server.versions_path, reply)

    with pytest.raises(VaultAnswerError, match=what):
        vault.version("bank")


@pytest.mark.parametrize(
    "versions", [None, {}, {"1": None}], ids=["no versions", "none of them", "no object"]
)
def test_a_version_of_which_nothing_is_said_can_not_be_read(
    vault: OpenBaoVault, server: OpenBaoInMemory, versions: object
) -> None:
    data = {"current_version": 1, "versions": versions}
    server.http.reply(server.versions_path, Reply(200, {"data": data}))

    assert vault.version("bank") == EntryVersion(1, is_readable=False)


def test_a_400_that_is_no_conflict_is_told_as_what_it_is(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.http.reply(server.path, Reply(400, {"errors": ["no data provided"]}))

    with pytest.raises(VaultAnswerError, match="answered 400 to a write of secret/bank"):
        vault.write("bank", OLD, expected_version=0)


def test_a_write_whose_answer_has_no_number_is_told(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.http.reply(server.path, Reply(200, {"data": {}}))

    with pytest.raises(VaultAnswerError, match="no number of a version for secret/bank"):
        vault.write("bank", OLD)


def test_one_login_serves_many_calls(vault: OpenBaoVault, server: OpenBaoInMemory) -> None:
    vault.write("bank", OLD)
    vault.read("bank")

    assert server.http.paths() == [LOGIN, server.path, server.path]


def test_an_entry_that_is_not_there_is_said_to_be_missing(vault: OpenBaoVault) -> None:
    with pytest.raises(EntryNotFoundError, match="no entry secret/bank"):
        vault.read("bank")


def test_an_entry_whose_newest_version_was_deleted_is_missing(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.versions = [OLD, None]

    with pytest.raises(EntryNotFoundError, match="no entry secret/bank"):
        vault.read("bank")


@pytest.mark.parametrize("entry", ["../bank", "", "a/b", "a?b"], ids=["up", "empty", "path", "?"])
def test_a_name_that_could_leave_the_mount_is_refused_unasked(
    vault: OpenBaoVault, server: OpenBaoInMemory, entry: str
) -> None:
    with pytest.raises(VaultError, match="not an entry's name"):
        vault.read(entry)
    assert server.http.asked == []


def test_a_sealed_vault_is_said_to_be_sealed(vault: OpenBaoVault, server: OpenBaoInMemory) -> None:
    server.sealed = True

    with pytest.raises(VaultSealedError, match="is sealed"):
        vault.read("bank")


def test_an_unsealed_vault_is_read_again_with_the_same_token(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    vault.write("bank", OLD)
    server.sealed = True
    with pytest.raises(VaultSealedError):
        vault.read("bank")
    server.sealed = False

    assert vault.read("bank") == OLD
    assert server.logins == 1


def test_what_the_policy_does_not_allow_is_said_to_be_forbidden(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.policy_allows = False

    with pytest.raises(VaultForbiddenError, match="does not allow our role to write secret/bank"):
        vault.write("bank", OLD)


def test_a_wrong_secret_id_is_a_refused_login(open_it: OpenVault) -> None:
    with pytest.raises(VaultLoginRefusedError, match="refuses the login"):
        open_it(secret_id="wr0ng").read("bank")


def test_a_server_that_does_not_listen_is_unreachable(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.http.stop()

    with pytest.raises(VaultUnreachableError, match="cannot be reached: ConnectionError"):
        vault.read("bank")


def test_a_server_that_is_slow_is_unreachable(open_it: OpenVault, server: OpenBaoInMemory) -> None:
    answered = threading.Event()

    def slow(_: object) -> Reply:
        answered.wait(10)
        return Reply(500)

    server.http.reply(LOGIN, slow)
    try:
        with pytest.raises(VaultUnreachableError, match="cannot be reached: ReadTimeout"):
            open_it(patience_seconds=0.05).read("bank")
    finally:
        answered.set()


def test_a_redirect_is_not_followed(vault: OpenBaoVault, server: OpenBaoInMemory) -> None:
    server.http.reply(server.path, Reply(307, headers={"Location": f"{server.http.url}/elsewhere"}))

    with pytest.raises(VaultAnswerError, match="answered 307 to a read of secret/bank"):
        vault.read("bank")
    assert "/elsewhere" not in server.http.paths()


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply(200, body=b"<html>"), "no JSON$"),
        (Reply(200, body=b"[" * 100_000), "no JSON$"),
        (Reply(200, ["data"]), "no JSON object$"),
        (Reply(200, {}), "no fields for secret/bank$"),
        (Reply(200, {"data": {"data": None}}), "no fields for secret/bank$"),
        (Reply(200, {"data": {"data": {"client_id": 7}}}), "a field that is no text"),
        (Reply(500, {"errors": ["internal"]}), "500 to a read of secret/bank$"),
        (Reply(429), "429 to a read of secret/bank$"),
    ],
    ids=["HTML", "deep", "list", "empty", "no data", "number", "500", "429"],
)
def test_an_answer_that_cannot_be_used_is_told_in_one_line(
    vault: OpenBaoVault, server: OpenBaoInMemory, reply: Reply, what: str
) -> None:
    server.http.reply(server.path, reply)

    with pytest.raises(VaultAnswerError, match=what) as caught:
        vault.read("bank")
    assert "\n" not in str(caught.value)


def test_a_write_that_was_not_done_is_told(vault: OpenBaoVault, server: OpenBaoInMemory) -> None:
    server.http.reply(server.path, Reply(400, {"errors": ["check-and-set parameter required"]}))

    with pytest.raises(VaultAnswerError, match="answered 400 to a write of secret/bank"):
        vault.write("bank", OLD)


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply(500), "500 to a login"),
        (Reply(429), "429 to a login"),
        (Reply(200, {"auth": None}), "a login without a token"),
        (Reply(200, {"auth": {"client_token": "a\nb"}}), "a login without a token"),
        (Reply(200, {"auth": {"client_token": "a"}}), "without a number of seconds"),
        (
            Reply(200, {"auth": {"client_token": "a", "lease_duration": True}}),
            "without a number of seconds",
        ),
    ],
    ids=["500", "429", "no auth", "bad token", "no life", "no number"],
)
def test_a_login_that_cannot_be_used_is_told(
    vault: OpenBaoVault, server: OpenBaoInMemory, reply: Reply, what: str
) -> None:
    server.http.reply(LOGIN, reply)

    with pytest.raises(VaultAnswerError, match=what):
        vault.read("bank")


@pytest.mark.parametrize(
    "fault",
    [
        Reply(500, body=b"hvs.token-1 s3cret-id-77ab"),
        Reply(200, body=b"hvs.token-1 s3cret-id-77ab"),
    ],
    ids=["500", "garbage"],
)
def test_no_secret_stands_in_an_error_nor_in_its_causes(
    vault: OpenBaoVault, server: OpenBaoInMemory, fault: Reply
) -> None:
    server.http.reply(server.path, fault)

    with pytest.raises(VaultAnswerError) as caught:
        vault.write("bank", TELLING)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vault)
    assert [s for s in ("token-1", SECRET_ID, ROLE_ID, "f1eld") if s in shown] == []


def test_the_token_is_renewed_before_it_ends(
    vault: OpenBaoVault, server: OpenBaoInMemory, clock: Clock
) -> None:
    vault.write("bank", OLD)
    for _ in range(3):
        clock.time += 801  # two thirds of its life
        vault.read("bank")

    assert server.logins == 1
    assert server.http.paths().count(RENEWAL) == 3


def test_a_token_that_has_ended_is_not_renewed(
    vault: OpenBaoVault, server: OpenBaoInMemory, clock: Clock
) -> None:
    vault.write("bank", OLD)
    clock.time += 1200
    vault.read("bank")

    assert server.logins == 2
    assert RENEWAL not in server.http.paths()


def test_a_token_that_cannot_be_renewed_is_replaced_by_a_login(
    vault: OpenBaoVault, server: OpenBaoInMemory, clock: Clock
) -> None:
    server.renewable = False
    vault.write("bank", OLD)
    clock.time += 801
    vault.read("bank")

    assert server.logins == 2
    assert RENEWAL not in server.http.paths()


def test_a_token_near_the_longest_life_of_its_role_is_replaced_by_a_login(
    vault: OpenBaoVault, server: OpenBaoInMemory, clock: Clock
) -> None:
    server.renewed_lifetime = 900
    vault.write("bank", OLD)
    clock.time += 801
    vault.read("bank")

    assert server.http.paths()[-3:] == [RENEWAL, LOGIN, server.path]


@pytest.mark.parametrize(
    "answer", [Reply(403), Reply(500), Reply(200, body=b"?")], ids=["403", "500", "garbage"]
)
def test_where_a_renewal_fails_a_login_follows(
    vault: OpenBaoVault, server: OpenBaoInMemory, clock: Clock, answer: Reply
) -> None:
    vault.write("bank", OLD)
    server.http.reply(RENEWAL, answer)
    clock.time += 801

    assert vault.read("bank") == OLD
    assert server.logins == 2


def test_a_token_without_an_end_is_never_renewed(
    vault: OpenBaoVault, server: OpenBaoInMemory, clock: Clock
) -> None:
    server.lifetime = 0
    vault.write("bank", OLD)
    clock.time += 1e9
    vault.read("bank")

    assert server.http.paths() == [LOGIN, server.path, server.path]


def test_a_vault_that_was_restarted_empty_is_logged_in_to_again(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    vault.write("bank", OLD)
    server.restart_empty()
    vault.write("bank", NEW)

    assert vault.read("bank") == NEW
    assert server.logins == 2


def test_threads_that_come_together_share_one_login(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.versions = [OLD]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(vault.read, ["bank"] * 16))

    assert read == [OLD] * 16
    assert server.logins == 1


def test_threads_that_waited_for_a_login_share_its_failure(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    everyone_waits = threading.Event()

    def slow(_: object) -> Reply:
        everyone_waits.wait(10)
        return Reply(500)

    def read(entry: str) -> str:
        with pytest.raises(VaultAnswerError) as caught:
            vault.read(entry)
        return str(caught.value)

    server.http.reply(LOGIN, slow)
    with ThreadPoolExecutor(4) as pool:
        told = [pool.submit(read, "bank") for _ in range(4)]
        time.sleep(0.2)
        everyone_waits.set()
        texts = {future.result() for future in told}

    assert texts == {f"the vault at {server.http.url} answered 500 to a login"}
    assert server.http.paths() == [LOGIN]


def test_a_failure_is_forgotten_at_the_next_call(
    vault: OpenBaoVault, server: OpenBaoInMemory
) -> None:
    server.versions, server.sealed = [OLD], True
    with pytest.raises(VaultSealedError):
        vault.read("bank")
    server.sealed = False

    assert vault.read("bank") == OLD


def test_neither_proxy_nor_token_is_taken_from_the_environment(
    vault: OpenBaoVault, server: OpenBaoInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.of-a-developer")
    vault.write("bank", OLD)

    tokens = [asked.headers.get("x-vault-token") for asked in server.http.asked]
    assert tokens == [None, "hvs.token-1"]


@pytest.fixture
def ca_file(server: OpenBaoInMemory, tmp_path: Path) -> Path:
    """Let the server speak TLS with a certificate that no public CA knows."""
    ca, both = own_certificate(tmp_path)
    server.http.speak_tls(both)
    return ca


def test_a_server_of_our_own_ca_is_trusted(server: OpenBaoInMemory, ca_file: Path) -> None:
    vault = open_vault(settings_of(server.http.url, vault_ca_file=ca_file))
    vault.write("bank", OLD)

    assert server.http.url.startswith("https://")
    assert vault.read("bank") == OLD


def test_a_server_of_an_unknown_ca_gets_no_credentials(
    server: OpenBaoInMemory, ca_file: Path
) -> None:
    with pytest.raises(VaultUnreachableError, match="cannot be reached: SSLError"):
        open_vault(settings_of(server.http.url)).read("bank")
    assert server.http.asked == []


def settings_of(url: str, **more: Any) -> VaultSettings:
    return VaultSettings(
        **more,
        bind="localhost:1",
        database_url="sqlite://",
        vault="openbao",
        vault_url=url,
        vault_role_id=SecretStr(ROLE_ID),
        vault_secret_id=SecretStr(SECRET_ID),
    )


def test_the_settings_name_the_vault(server: OpenBaoInMemory) -> None:
    vault = open_vault(settings_of(server.http.url))
    vault.write("bank", OLD)

    assert repr(vault) == f"OpenBaoVault('{server.http.url}', mount='secret')"
    assert server.versions == [OLD]


def test_without_hvac_the_service_stops_with_the_settings_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("app_role", "openbao", "server"):
        monkeypatch.delitem(sys.modules, f"shared.vault.{module}")
    without_package(monkeypatch, "hvac")

    with pytest.raises(SystemExit, match=r"^VAULT: `openbao` needs the package hvac"):
        open_vault(settings_of("http://127.0.0.1:1"))


def test_another_missing_module_is_not_blamed_on_hvac(monkeypatch: pytest.MonkeyPatch) -> None:
    without_package(monkeypatch, "shared.vault.app_role")

    with pytest.raises(ModuleNotFoundError, match="app_role"):
        open_vault(settings_of("http://127.0.0.1:1"))
