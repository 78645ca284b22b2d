import pytest

from tests.unit.auth_server.running import BANK, LEDGER, Running, error_of, object_of


def uris(server: Running) -> list[str]:
    return [row["uri"] for row in object_of(server, "resources", "list")]


def test_a_registered_resource_learns_further_scopes_and_no_client_has_them(
    server: Running,
) -> None:
    grown = object_of(server, "resources", "add-scope", BANK, "Close", "Read", "Audit")
    assert grown["scope"] == "Read Write Close Audit"
    assert object_of(server, "clients", "show", "worker")["scope"] == "Read Write"
    granted = object_of(server, "clients", "grant", "worker", "--scope", "Close")
    assert granted["scope"] == "Read Write Close"


def test_a_scope_that_nobody_has_is_removed(server: Running) -> None:
    left = object_of(server, "resources", "remove-scope", LEDGER, "Append", "--yes")
    assert (left["scope"], left["clients"]) == ("Read", 0)


def test_a_scope_that_clients_have_is_taken_from_them_by_force_alone(server: Running) -> None:
    code, line = error_of(server, "resources", "remove-scope", BANK, "Write", "--yes")
    assert (code, "clients that have it: 1." in line) == (1, True)
    left = object_of(server, "resources", "remove-scope", BANK, "Write", "--yes", "--force")
    assert (left["scope"], left["clients"]) == ("Read", 1)
    assert server.ask().get_json()["scope"] == "Read"


def test_a_resource_that_nobody_has_is_removed(server: Running) -> None:
    removed = object_of(server, "resources", "remove", LEDGER, "--yes")
    assert removed == {"uri": LEDGER, "removed": True, "clients": 0}
    assert uris(server) == [BANK]


def test_a_resource_that_clients_have_is_removed_by_force_alone(server: Running) -> None:
    object_of(server, "clients", "grant", "worker", "--resource", LEDGER)
    assert error_of(server, "resources", "remove", BANK, "--yes")[0] == 1
    assert uris(server) == [BANK, LEDGER]
    object_of(server, "resources", "remove", BANK, "--yes", "--force")
    shown = object_of(server, "clients", "show", "worker")
    assert (shown["default_resource"], list(shown["scopes"])) == (None, [LEDGER])


def test_a_client_that_looks_into_tokens_of_a_resource_has_it_as_well(server: Running) -> None:
    with server.parts.database.writing() as session:
        session.connection().exec_driver_sql("UPDATE clients SET introspects = ?", (LEDGER,))
    assert error_of(server, "resources", "remove", LEDGER, "--yes")[0] == 1
    assert object_of(server, "resources", "remove", LEDGER, "--yes", "--force")["clients"] == 1


def test_the_register_itself_takes_nothing_from_clients_unasked(server: Running) -> None:
    with pytest.raises(Exception, match="a client has it"):
        server.parts.registry.resources.remove(BANK, from_clients=False)
    assert uris(server) == [BANK, LEDGER]


@pytest.mark.parametrize(
    "arguments",
    [["remove", "urn:unknown"], ["remove", "no uri"], ["add-scope", "urn:unknown", "Read"],
     ["add-scope", BANK, "openid"], ["add-scope", BANK, 'a"b'],
     ["remove-scope", BANK, "Admin"], ["remove-scope", LEDGER, "Append", "Read"]],
    ids=" ".join,
)  # fmt: skip
def test_what_cannot_be_done_to_a_resource_is_an_error(
    server: Running, arguments: list[str]
) -> None:
    yes = ["--yes"] if arguments[0].startswith("remove") else []
    code, line = error_of(server, "resources", *arguments, *yes)
    assert (code, line.startswith("Error: ")) == (1, True)
    assert uris(server) == [BANK, LEDGER]
