import json
from subprocess import CompletedProcess

import pytest

from deploy.provisioning import ProvisioningError, register, replace_credentials

BANK = "http://localhost:9001"
IN_THE_VAULT = ("bank-reconciler", "--to-vault", "bank-reconciler")


class CommandLine:
    """Notes the commands, and answers each as it is told to: by default, that it is done."""

    def __init__(self, answers: dict[str, tuple[int, str]] | None = None) -> None:
        self.answers = answers or {}
        self.commands: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> CompletedProcess[str]:
        self.commands.append(arguments)
        status, said = self.answers.get(" ".join(arguments[:2]), (0, ""))
        return CompletedProcess(arguments, status, said, said if status else "")


def test_bank_and_client_are_registered_and_the_credentials_go_into_the_vault() -> None:
    flask = CommandLine()

    register(flask, BANK)

    assert flask.commands == [
        ("resources", "add", BANK, "--scope", "Read", "--scope", "Write", "--default"),
        ("clients", "add", *IN_THE_VAULT),
    ]


def test_a_client_that_is_there_may_use_the_bank_at_its_new_address() -> None:
    flask = CommandLine({"clients add": (3, "registered already")})

    register(flask, BANK)

    assert flask.commands[-1] == ("clients", "grant", "bank-reconciler", "--default")


@pytest.mark.parametrize("command", ["resources add", "clients add"])
def test_a_command_that_fails_is_told_by_its_last_line(command: str) -> None:
    flask = CommandLine({command: (1, "first\nthe database cannot be used")})

    with pytest.raises(ProvisioningError, match=f"auth_server {command}: the database cannot"):
        register(flask, BANK)


def test_what_was_lost_is_ended_before_a_new_secret_is_made() -> None:
    secrets = [
        {"secret_id": state, "state": state}
        for state in ("revoked", "expired", "live", "undelivered")
    ]
    flask = CommandLine({"secrets list": (0, json.dumps(secrets))})

    replace_credentials(flask)

    assert flask.commands[1:] == [
        ("secrets", "revoke", "bank-reconciler", "live", "--yes"),
        ("secrets", "revoke", "bank-reconciler", "undelivered", "--yes"),
        ("secrets", "add", *IN_THE_VAULT),
    ]
