import pytest

from tests.unit.auth_server.running import BANK, Running, error_of, object_of


@pytest.mark.parametrize(
    ("answer", "code", "is_left"), [(b"n\n", 1, True), (b"\n", 1, True), (b"y\n", 0, False)]
)
def test_what_destroys_asks_first(
    on_a_terminal: Running, answer: bytes, code: int, is_left: bool
) -> None:
    result = on_a_terminal.command("clients", "remove", "worker", given=answer)
    assert (result.exit_code, "Go on?" in result.stderr) == (code, True)
    assert bool(object_of(on_a_terminal, "clients", "list")) is is_left


@pytest.mark.parametrize(
    "command",
    [["clients", "remove", "worker"], ["resources", "remove", BANK, "--force"],
     ["resources", "remove-scope", BANK, "Read", "--force"],
     ["secrets", "revoke", "worker", "any"], ["keys", "revoke", "--all"],
     ["keys", "replace-lost"]],
    ids=lambda command: " ".join(command[:2]),
)  # fmt: skip
def test_without_a_terminal_and_without_yes_nothing_is_destroyed(
    server: Running, command: list[str]
) -> None:
    code, line = error_of(server, *command)
    assert (code, "say --yes" in line) == (2, True)
    assert object_of(server, "clients", "show", "worker")["scope"] == "Read Write"
