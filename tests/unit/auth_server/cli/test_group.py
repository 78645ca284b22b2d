import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth_server.audit import actor
from tests.unit.auth_server.running import BANK, LEDGER, Running, object_of

Audited = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> Audited:
    """Return the events of the audit trail so far."""
    caplog.set_level(logging.INFO)
    return lambda: [r.__dict__["event"] for r in caplog.records if r.name == "audit"]


def test_a_command_that_changes_something_is_one_event(server: Running, audited: Audited) -> None:
    object_of(server, "clients", "grant", "worker", "--resource", LEDGER, "--scope", "Read")
    assert audited() == [
        {
            "action": "clients grant",
            "outcome": "done",
            "actor": actor(),
            "client_id": "worker",
            "arguments": {"scopes": "Read", "resource": LEDGER},
        }
    ]


def test_a_command_that_only_reads_is_none(server: Running, audited: Audited) -> None:
    for command in (["clients", "list"], ["clients", "show", "worker"], ["keys", "list"]):
        object_of(server, *command)
    assert audited() == []


def test_what_a_command_made_is_named_by_its_id_and_no_secret_is(
    server: Running, audited: Audited, caplog: pytest.LogCaptureFixture
) -> None:
    made = object_of(server, "secrets", "add", "worker")
    key = object_of(server, "keys", "generate", "--algorithm", "ES256")
    assert [event.get("secret_id") for event in audited()] == [made["secret_id"], None]
    assert [event.get("kid") for event in audited()] == [None, key["kid"]]
    assert made["client_secret"] not in str(audited()) + caplog.text


def test_which_keys_were_rotated_and_revoked_is_told(server: Running, audited: Audited) -> None:
    server.command("keys", "rotate")
    first, second, spare = (one["kid"] for one in object_of(server, "keys", "list"))
    server.command("keys", "revoke", "--all", "--yes")
    assert [event["kid"] for event in audited()] == [second, f"{first} {second} {spare}"]


def test_a_command_that_fails_is_an_event_with_its_reason(
    server: Running, audited: Audited
) -> None:
    server.command("clients", "disable", "nobody")
    (event,) = audited()
    assert (event["action"], event["outcome"]) == ("clients disable", "failed")
    assert event["reason"] == "no client 'nobody' is registered: see `clients list`"


def test_a_client_that_the_vault_never_got_is_known_all_the_same(
    server: Running, audited: Audited, state_dir: Path
) -> None:
    (state_dir / "vault").write_text("no folder")
    server.command("clients", "add", "cron", "--to-vault", "entry")
    (event,) = audited()
    assert (event["client_id"], event["outcome"]) == ("cron", "failed")
    assert event["arguments"]["to_vault"] == "entry"


def test_of_a_file_the_name_is_told(server: Running, audited: Audited, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text("{}")
    server.command("keys", "import", str(file))
    assert audited()[0]["arguments"] == {"file": str(file)}


def test_what_the_database_says_is_told_by_its_kind_alone(
    server: Running, audited: Audited
) -> None:
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE client_secrets")
    assert server.command("secrets", "add", "worker").exit_code == 1
    assert audited()[0]["reason"] == "OperationalError"


@pytest.mark.parametrize(
    "command",
    [["clients", "remove", "worker"], ["clients", "add"], ["clients", "set", "worker"],
     ["resources", "add", BANK]],
    ids=" ".join,
)  # fmt: skip
def test_what_was_not_understood_or_confirmed_decides_nothing_and_is_no_event(
    server: Running, audited: Audited, command: list[str]
) -> None:
    assert server.command(*command).exit_code == 2
    assert audited() == []


def test_a_flag_that_says_no_is_an_argument_too(server: Running, audited: Audited) -> None:
    server.command("clients", "set", "worker", "--no-id-token")
    assert audited()[0]["arguments"] == {"id_token": False}


def test_hostile_arguments_are_cut(server: Running, audited: Audited) -> None:
    server.command("clients", "disable", "x" * 10_000)
    server.command("clients", "grant", "worker", "--scope", "a\nb")
    assert len(audited()[0]["client_id"]) < 300
    assert audited()[1]["arguments"]["scopes"] == "a\\nb"
