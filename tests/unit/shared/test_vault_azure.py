import logging.config
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.service_logging import logging_configuration
from shared.settings import VaultSettings
from shared.vault import (
    EntryNotFoundError,
    EntryVersion,
    Vault,
    VaultAnswerError,
    VaultConflictError,
    VaultError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultThrottledError,
    VaultUnreachableError,
    open_vault,
)
from shared.vault.azure_client import RETRIES, AzureClient
from shared.vault.azure_key_vault import AzureKeyVault
from tests.stack.azure_key_vault import (
    IDENTITY_HEADER,
    IDENTITY_PATH,
    KeyVaultInMemory,
    not_found,
)
from tests.stack.loopback import Asked, Reply
from tests.stack.missing_package import without_package

OLD = {"client_id": "bank-reconciler", "client_secret": "old"}
NEW = {"client_id": "bank-reconciler", "client_secret": "new"}
TELLING = {"client_secret": "f1eld-value"}
THROTTLED = Reply(429, {"error": {"code": "Throttled", "message": "too many requests"}})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVaultInMemory]:
    with KeyVaultInMemory.made_in(tmp_path) as running:
        running.tell_the_platforms(monkeypatch)
        yield running


def settings_of(server: KeyVaultInMemory, **more: Any) -> VaultSettings:
    return VaultSettings(
        **more,
        bind="localhost:1",
        database_url="sqlite://",
        vault="azure",
        vault_url=server.http.url,
        vault_ca_file=server.ca_file,
    )


@pytest.fixture
def vault(server: KeyVaultInMemory) -> Vault:
    return open_vault(settings_of(server))


def asked_once(server: KeyVaultInMemory, patience_seconds: float = 5) -> AzureKeyVault:
    patience = (patience_seconds, patience_seconds)
    url, ca_file = server.http.url, server.ca_file
    return AzureKeyVault(AzureClient(url, ca_file, retries=0, patience_seconds=patience))


def test_nothing_is_asked_before_it_is_needed(vault: Vault, server: KeyVaultInMemory) -> None:
    assert server.http.asked == server.identity.asked == []


def test_what_is_written_can_be_read(vault: Vault) -> None:
    vault.write("bank", OLD)

    assert vault.read("bank") == OLD


def test_an_entry_is_one_secret_below_the_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KeyVaultInMemory.made_in(tmp_path, "oauth-bank") as server:
        server.tell_the_platforms(monkeypatch)
        open_vault(settings_of(server, vault_prefix="oauth-")).write("bank", OLD)

    held = [version.value for version in server.versions]
    assert held == ['{"client_id": "bank-reconciler", "client_secret": "old"}']


def test_a_second_version_replaces_every_field(vault: Vault, server: KeyVaultInMemory) -> None:
    vault.write("bank", OLD | {"old_field": "x"})
    vault.write("bank", NEW)

    assert vault.read("bank") == NEW
    assert len(server.versions) == 2


def test_a_write_returns_the_number_of_its_version_however_many_pages_there_are(
    vault: Vault,
) -> None:
    assert [vault.write("bank", OLD) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert vault.version("bank") == EntryVersion(5, is_readable=True)


def test_an_entry_that_was_never_written_is_at_version_0_and_missing(vault: Vault) -> None:
    assert vault.version("bank") == EntryVersion(0, is_readable=False)
    with pytest.raises(EntryNotFoundError, match="no entry bank"):
        vault.read("bank")


def test_a_version_of_somebody_else_counts(vault: Vault, server: KeyVaultInMemory) -> None:
    vault.write("bank", OLD)
    server.put('{"client_id": "theirs"}')

    with pytest.raises(VaultConflictError, match="is at version 2, not 1"):
        vault.write("bank", NEW, expected_version=1)
    assert vault.read("bank") == {"client_id": "theirs"}
    assert vault.write("bank", NEW, expected_version=2) == 3


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_write_over_another_version_than_the_expected_is_a_conflict_and_changes_nothing(
    vault: Vault, server: KeyVaultInMemory, expected: int
) -> None:
    vault.write("bank", OLD)
    vault.write("bank", OLD)

    with pytest.raises(VaultConflictError, match=f"is at version 2, not {expected}"):
        vault.write("bank", NEW, expected_version=expected)
    assert len(server.versions) == 2


def test_a_disabled_version_keeps_its_number_and_is_missing(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    vault.write("bank", OLD)
    vault.write("bank", NEW)
    server.versions[-1].enabled = False

    assert vault.version("bank") == EntryVersion(2, is_readable=False)
    with pytest.raises(EntryNotFoundError, match=r"the newest version of bank .* is disabled"):
        vault.read("bank")


def test_a_secret_that_was_deleted_has_to_be_recovered_or_purged(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    vault.write("bank", OLD)
    server.is_deleted = True

    assert vault.version("bank") == EntryVersion(0, is_readable=False)
    with pytest.raises(EntryNotFoundError):
        vault.read("bank")
    with pytest.raises(VaultError, match=r"was deleted .*: recover or purge it"):
        vault.write("bank", NEW)


@pytest.mark.parametrize("entry", ["a_b", "x" * 128], ids=["underscore", "too long"])
def test_a_name_that_a_key_vault_does_not_take_is_refused_unasked(
    vault: Vault, server: KeyVaultInMemory, entry: str
) -> None:
    with pytest.raises(VaultError, match=r"no name that a Key Vault takes: .*letters, digits"):
        vault.read(entry)
    assert server.http.asked == []


def test_a_name_that_could_leave_the_vault_is_refused(vault: Vault) -> None:
    with pytest.raises(VaultError, match="not an entry's name"):
        vault.read("../bank")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("pa55word", r"no JSON object for bank$"),
        ('["client_id"]', r"no JSON object for bank$"),
        ('{"client_id": 7}', r"a field that is no text for bank$"),
    ],
    ids=["no JSON", "list", "number"],
)
def test_a_secret_that_holds_no_fields_is_an_error_that_shows_nothing_of_it(
    vault: Vault, server: KeyVaultInMemory, text: str, what: str
) -> None:
    server.put(text)

    with pytest.raises(VaultAnswerError, match=what) as caught:
        vault.read("bank")
    assert "pa55word" not in "".join(traceback.format_exception(caught.value))


def test_the_newest_version_is_told_without_the_right_to_read_it(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    server.forbidden = {"get"}

    assert vault.write("bank", OLD, expected_version=0) == 1
    assert vault.version("bank") == EntryVersion(1, is_readable=True)
    with pytest.raises(VaultForbiddenError, match=r"does not allow us to read bank$"):
        vault.read("bank")


def test_a_reader_needs_no_other_right(vault: Vault, server: KeyVaultInMemory) -> None:
    vault.write("bank", OLD)
    server.forbidden = {"list", "set"}

    assert vault.read("bank") == OLD
    with pytest.raises(VaultForbiddenError, match=r"does not allow us to list the versions"):
        vault.version("bank")


def test_one_token_of_the_managed_identity_serves_many_requests(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    vault.write("bank", OLD)
    vault.read("bank")

    assert server.identity.paths() == [IDENTITY_PATH]
    assert server.identity.asked[0].query["resource"] == server.resource


def test_a_token_that_the_vault_refuses_is_a_refused_login(server: KeyVaultInMemory) -> None:
    server.trusts_nobody = True

    with pytest.raises(VaultLoginRefusedError, match="gets no identity that it takes"):
        asked_once(server).read("bank")


def test_an_identity_that_the_platform_gives_late_is_a_refused_login_and_needs_no_restart(
    server: KeyVaultInMemory,
) -> None:
    server.put('{"client_id": "bank-reconciler", "client_secret": "old"}')
    server.gives_no_identity = True
    vault = asked_once(server)

    with pytest.raises(VaultLoginRefusedError, match="gets no identity that it takes"):
        vault.read("bank")
    server.gives_no_identity = False
    assert vault.read("bank") == OLD


def test_no_token_is_got_for_a_resource_that_the_vault_does_not_lie_in(
    server: KeyVaultInMemory,
) -> None:
    server.resource = "https://management.azure.com"

    with pytest.raises(VaultAnswerError, match="what its client cannot use"):
        asked_once(server).read("bank")
    assert server.identity.asked == []


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (THROTTLED, VaultThrottledError, "is asked too often to read bank$"),
        (Reply(500, {"error": {"code": "InternalError"}}), VaultAnswerError, "answered 500 to"),
        (Reply(502, body=b"<html>"), VaultAnswerError, "answered 502 to a read of bank$"),
        (Reply(307, headers={"Location": "/x"}), VaultAnswerError, "cannot use"),
        (Reply(200, body=b"<html>"), VaultAnswerError, "cannot use"),
        (Reply(200, body=b"[" * 50_000), VaultAnswerError, "cannot use"),
        (Reply(200, ["value"]), VaultAnswerError, "answered"),
        (Reply(200, {}), VaultAnswerError, "answered"),
        (Reply(200, {"value": 7}), VaultAnswerError, "answered"),
        (Reply(403, ["error"]), VaultForbiddenError, "does not allow us to read bank$"),
        (Reply(403, {"error": "no"}), VaultForbiddenError, "does not allow us to read bank$"),
    ],
    ids=[
        "throttled",
        "500",
        "502",
        "redirect",
        "HTML",
        "deep",
        "list",
        "empty",
        "number",
        "403 list",
        "403 text",
    ],
)
def test_an_answer_that_is_no_secret_is_told_as_what_it_is(
    server: KeyVaultInMemory, reply: Reply, kind: type[VaultError], text: str
) -> None:
    server.serve(f"{server.path}/", lambda _: reply)

    with pytest.raises(kind, match=text) as caught:
        asked_once(server).read("bank")
    assert "\n" not in str(caught.value)
    assert server.http.paths() == [f"{server.path}/"] * 2  # its challenge, and the request


@pytest.mark.parametrize(
    "reply",
    [Reply(500), Reply(200, {"value": [7]}), Reply(200, body=b"?")],
    ids=["500", "a number for a version", "no JSON"],
)
def test_versions_that_cannot_be_used_are_told(server: KeyVaultInMemory, reply: Reply) -> None:
    server.serve(f"{server.path}/versions", lambda _: reply)

    with pytest.raises(VaultAnswerError):
        asked_once(server).version("bank")


def test_versions_of_a_name_that_the_vault_does_not_know_are_none(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    server.serve(f"{server.path}/versions", lambda _: not_found("bank"))

    assert vault.version("bank") == EntryVersion(0, is_readable=False)


def test_a_vault_that_throttles_for_a_moment_is_asked_again(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    vault.write("bank", OLD)
    server.faults = [THROTTLED]

    assert vault.read("bank") == OLD
    assert server.http.paths().count(f"{server.path}/") == 2


def test_a_vault_that_goes_on_throttling_is_asked_a_bounded_number_of_times(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    server.http.reply(f"{server.path}/", THROTTLED)

    with pytest.raises(VaultThrottledError):
        vault.read("bank")
    assert len(server.http.asked) == RETRIES + 1


def test_a_vault_that_asks_for_a_long_pause_is_not_waited_for(
    vault: Vault, server: KeyVaultInMemory
) -> None:
    server.http.reply(f"{server.path}/", Reply(429, headers={"Retry-After": "3600"}))

    with pytest.raises(VaultThrottledError):
        vault.read("bank")
    assert len(server.http.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_write_is_tried_once_as_a_second_try_might_make_two_versions(
    vault: Vault, server: KeyVaultInMemory, status: int
) -> None:
    server.serve(server.path, lambda _: Reply(status))

    with pytest.raises(VaultError):
        vault.write("bank", OLD)
    assert server.http.paths().count(server.path) == 1


def test_a_vault_that_does_not_listen_is_unreachable(server: KeyVaultInMemory) -> None:
    server.http.stop()

    with pytest.raises(VaultUnreachableError, match="cannot be reached: ServiceRequestError"):
        asked_once(server).read("bank")


def test_a_vault_that_is_slow_is_unreachable(server: KeyVaultInMemory) -> None:
    answered = threading.Event()

    def slow(_: Asked) -> Reply:
        answered.wait(10)
        return Reply(500)

    server.http.reply(f"{server.path}/", slow)
    try:
        with pytest.raises(VaultUnreachableError, match="cannot be reached: ServiceResponse"):
            asked_once(server, patience_seconds=0.2).read("bank")
    finally:
        answered.set()


def test_a_vault_of_an_unknown_ca_gets_no_token(server: KeyVaultInMemory) -> None:
    with pytest.raises(VaultUnreachableError, match="cannot be reached: ServiceRequestError"):
        AzureKeyVault(AzureClient(server.http.url, retries=0)).read("bank")
    assert server.http.asked == server.identity.asked == []


@pytest.mark.parametrize(
    "fault",
    [
        Reply(500, {"error": {"code": "x", "message": "f1eld-value"}}),
        Reply(403, {"error": {"code": "x", "message": "f1eld-value"}}),
        Reply(200, body=b"f1eld-value"),
    ],
    ids=["500", "forbidden", "garbage"],
)
def test_no_secret_stands_in_an_error_nor_in_its_causes(
    server: KeyVaultInMemory, fault: Reply
) -> None:
    server.serve(server.path, lambda _: fault)
    vault = asked_once(server)

    with pytest.raises(VaultError) as caught:
        vault.write("bank", TELLING)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vault)
    told = ("f1eld", IDENTITY_HEADER, *server.tokens)
    assert [secret for secret in told if secret in shown] == []


def test_no_secret_is_logged_however_talkative_the_log_is(
    vault: Vault,
    server: KeyVaultInMemory,
    capsys: pytest.CaptureFixture[str],
    restored_logging: None,
) -> None:
    logging.config.dictConfig(logging_configuration("client_service", "DEBUG"))
    vault.write("bank", TELLING)
    vault.read("bank")

    logged = capsys.readouterr().err
    assert "urllib3" in logged  # so the log was talkative
    told = ("f1eld", IDENTITY_HEADER, *server.tokens)
    assert [secret for secret in told if secret in logged] == []


def test_the_settings_name_the_vault(server: KeyVaultInMemory) -> None:
    vault = open_vault(settings_of(server, vault_prefix="oauth-"))

    assert repr(vault) == f"AzureKeyVault('{server.http.url}', prefix='oauth-')"


@pytest.mark.parametrize("package", ["azure.identity", "azure.keyvault", "azure"])
def test_without_its_packages_the_service_stops_with_the_settings_name(
    server: KeyVaultInMemory, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.delitem(sys.modules, "shared.vault.azure_client")
    monkeypatch.delitem(sys.modules, "shared.vault.azure_key_vault")
    without_package(monkeypatch, package)

    with pytest.raises(SystemExit, match=rf"^VAULT: `azure` needs the package {package}, which"):
        open_vault(settings_of(server))
