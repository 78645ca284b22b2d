"""The commands of the life of a secret: rotate, list, ending, check."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
from click.testing import CliRunner

from auth_server.cli.client_secrets import secrets_group
from auth_server.cli.durations import duration
from auth_server.registry import new_secret
from shared.vault import DirectoryVault
from tests.unit.auth_server.running import START, Running

ROTATE = ["secrets", "rotate", "worker", "--to-vault", "entry"]
DAY = 86400


def object_of(server: Running, *arguments: str, given: bytes | None = None) -> Any:
    result = server.command(*arguments, "--json", given=given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def secret_in(state_dir: Path) -> str:
    return DirectoryVault(state_dir / "vault").read("entry")["client_secret"]


def test_a_rotation_tells_of_both_secrets_and_shows_neither(
    server: Running, state_dir: Path
) -> None:
    (old,) = server.parts.registry.secrets.all_of("worker")
    result = server.command(*ROTATE, "--overlap", "15m", "--json")
    told = json.loads(result.stdout)
    assert secret_in(state_dir) not in result.output
    assert told == {
        "client_id": "worker",
        "secret_id": told["secret_id"],
        "client_secret_expires_at": 0,
        "vault_entry": "entry",
        "vault_version": 1,
        "old_secret_id": old.secret_id,
        "old_state": "live",
        "old_expires_at": "2027-01-15T08:15:00+00:00",
    }
    answer = server.ask(authorization=server.basic(secret=secret_in(state_dir)))
    assert (answer.status_code, server.ask().status_code) == (200, 200)


def test_the_overlap_is_a_day_where_none_is_given(server: Running) -> None:
    assert object_of(server, *ROTATE)["old_expires_at"] == "2027-01-16T08:00:00+00:00"


def test_the_new_secret_may_have_an_end(server: Running) -> None:
    told = object_of(server, *ROTATE, "--secret-lifetime-days", "90")
    assert told["client_secret_expires_at"] == START + 90 * DAY


def test_a_rotation_that_was_done_already_is_exit_code_3(server: Running) -> None:
    object_of(server, *ROTATE)
    again = server.command(*ROTATE)
    assert (again.exit_code, again.stdout) == (3, "")
    assert "was rotated already" in again.stderr


def test_a_rotation_that_the_vault_fails_names_the_command_that_goes_on(
    server: Running, state_dir: Path
) -> None:
    (state_dir / "vault").write_text("no folder")
    result = server.command(*ROTATE)
    assert result.exit_code == 1
    assert "when it can be, run `secrets rotate worker --to-vault entry`" in result.stderr


@pytest.mark.parametrize(
    "options",
    [["--overlap", "24"], ["--overlap", "1w"], ["--overlap", "-1h"], ["--overlap", "367d"],
     ["--overlap", "1.5h"], ["--overlap", "\u0661h"], ["--secret-lifetime-days", "99999999"]],
    ids=lambda options: ascii(" ".join(options)),
)  # fmt: skip
def test_what_is_no_time_is_wrong_usage(server: Running, options: list[str]) -> None:
    assert server.command(*ROTATE, *options).exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", DAY), ("7d", 7 * DAY), ("0s", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert duration(text) == seconds


def test_a_duration_names_what_is_right() -> None:
    with pytest.raises(click.BadParameter, match="as 24h"):
        duration("soon")


def rotate_and_wait(server: Running, pause: Callable[[float], None]) -> Any:
    """Run the command with a pause of the test's own."""
    vault = DirectoryVault(server.parts.settings.vault_directory)
    group = secrets_group(server.parts.registry, vault, 300, server.clock, pause)
    with server.app.app_context(), mock.patch("auth_server.cli.group.configure_logging"):
        return CliRunner().invoke(group, ["rotate", "worker", "--to-vault", "entry", "--wait"])


def ask_as_the_vault_says(server: Running, state_dir: Path) -> None:
    authorization = server.basic(secret=secret_in(state_dir))
    server.ask(authorization=authorization).close()


def test_waiting_ends_the_old_secret_once_only_the_new_one_is_used(
    server: Running, state_dir: Path
) -> None:
    def pause(seconds: float) -> None:
        server.clock.time += seconds
        ask_as_the_vault_says(server, state_dir)

    result = rotate_and_wait(server, pause)
    assert result.exit_code == 0, result.output
    assert "old_state                 revoked\n" in result.stdout
    assert server.clock.time == START + 365
    assert "waiting until the new secret" in result.stderr


def test_waiting_can_be_stopped_and_goes_on_with_the_same_command(
    server: Running, state_dir: Path
) -> None:
    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    def pause(seconds: float) -> None:
        server.clock.time += seconds
        ask_as_the_vault_says(server, state_dir)

    stopped = rotate_and_wait(server, stop)
    in_the_vault = secret_in(state_dir)
    result = rotate_and_wait(server, pause)
    assert (stopped.exit_code, result.exit_code) == (1, 0)
    assert "the same command goes on waiting" in stopped.stderr
    assert secret_in(state_dir) == in_the_vault
    assert len(server.parts.registry.secrets.all_of("worker")) == 2


def test_secrets_are_listed_with_their_last_use_and_their_place(server: Running) -> None:
    server.ask().close()
    object_of(server, *ROTATE)
    rows = object_of(server, "secrets", "list", "worker")
    assert sorted(str(row["last_used_at"]) for row in rows) == ["2027-01-15T08:00:00+00:00", "None"]
    assert {row["vault_entry"] for row in rows} == {None, "entry"}


def test_secrets_whose_end_leaves_their_client_with_none_are_listed(server: Running) -> None:
    for name, days in (("soon", "3"), ("later", "20")):
        object_of(server, "clients", "add", name, "--secret-lifetime-days", days)
    listed = [row["client_id"] for row in object_of(server, "secrets", "ending")]
    further = [
        row["client_id"] for row in object_of(server, "secrets", "ending", "--within", "20d")
    ]
    assert (listed, further) == (["soon"], ["soon"])
    assert len(object_of(server, "secrets", "ending", "--within", "21d")) == 2


def test_a_secret_that_was_found_is_told_whose_it_is_and_not_shown(server: Running) -> None:
    revoked = object_of(server, "secrets", "add", "worker")
    server.parts.registry.secrets.revoke("worker", revoked["secret_id"])
    text = f"x\npassword={server.secret}\n{revoked['client_secret']} {new_secret()}\nccs_{'A' * 49}"
    result = server.command("secrets", "check", "--json", given=text.encode())
    rows = json.loads(result.stdout)
    assert [(row["line"], row["state"], row["client_id"]) for row in rows] == [
        (2, "live", "worker"),
        (3, "revoked", "worker"),
        (3, "unknown", None),
    ]
    assert "ccs_" not in result.output


def test_where_no_secret_is_found_none_is_told(server: Running) -> None:
    result = server.command("secrets", "check", given=b"\xff no secret\n")
    assert (result.exit_code, result.stdout) == (0, "none\n")
