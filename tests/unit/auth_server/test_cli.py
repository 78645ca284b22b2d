import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.vault import DirectoryVault
from tests.unit.auth_server.running import BANK, LEDGER, Running, error_of, object_of


def test_a_new_client_is_printed_with_its_credentials_once(server: Running) -> None:
    made = object_of(server, "clients", "add", "cron")
    assert list(made)[:2] == ["client_id", "client_secret"]
    assert (made["client_id"], made["scope"]) == ("cron", "Read Write")
    assert (made["client_secret_expires_at"], made["id_token"]) == (0, True)
    answer = server.ask(authorization=server.basic("cron", made["client_secret"]))
    assert answer.status_code == 200


def test_scopes_method_and_id_token_of_a_client_are_options(server: Running) -> None:
    options = ["--scope", "Read", "--auth-method", "client_secret_post", "--no-id-token"]
    made = object_of(server, "clients", "add", "cron", *options)
    assert (made["scope"], made["id_token"]) == ("Read", False)
    assert made["token_endpoint_auth_method"] == "client_secret_post"


def test_a_client_may_be_of_another_resource(server: Running) -> None:
    made = object_of(server, "clients", "add", "cron", "--resource", LEDGER)
    assert made["scopes"] == {LEDGER: ["Append", "Read"]}


def test_a_resource_server_is_registered_with_the_resource_that_it_introspects(
    server: Running,
) -> None:
    made = object_of(server, "clients", "add", "bank", "--introspects", BANK)
    shown = object_of(server, "clients", "show", "bank")
    assert made["introspects"] == shown["introspects"] == BANK
    assert (made["scopes"], list(made)[:2]) == ({}, ["client_id", "client_secret"])


@pytest.mark.parametrize(
    ("options", "scopes"),
    [
        (["--scope", "Read"], {BANK: ["Read"]}),
        (["--resource", LEDGER], {LEDGER: ["Append", "Read"]}),
    ],
    ids=["scope", "resource"],
)  # fmt: skip
def test_a_resource_server_has_the_scopes_that_are_named(
    server: Running, options: list[str], scopes: dict[str, list[str]]
) -> None:
    made = object_of(server, "clients", "add", "bank", "--introspects", BANK, *options)
    assert made["scopes"] == scopes


def test_a_client_that_is_no_resource_server_introspects_nothing(server: Running) -> None:
    assert object_of(server, "clients", "show", "worker")["introspects"] is None


@pytest.mark.parametrize("uri", ["https://unknown.example", "no URI", "a:\x00"])
def test_what_is_introspected_has_to_be_registered(server: Running, uri: str) -> None:
    code, error = error_of(server, "clients", "add", "bank", "--introspects", uri)
    assert (code, error) == (
        1,
        f"Error: no resource {uri!r} is registered: see `resources list`",
    )


def test_a_resource_servers_credentials_can_go_into_the_vault(
    server: Running, state_dir: Path
) -> None:
    object_of(server, "clients", "add", "bank", "--introspects", BANK, "--to-vault", "bank")
    entry = DirectoryVault(state_dir / "vault").read("bank")
    header = server.basic(entry["client_id"], entry["client_secret"])
    answer = server.post("token=x", authorization=header, path="/oidc/introspect")
    assert answer.get_json() == {"active": False}


def test_the_end_of_a_secret_is_an_option(server: Running) -> None:
    made = object_of(server, "clients", "add", "cron", "--secret-lifetime-days", "30")
    assert made["client_secret_expires_at"] == int(server.clock.time) + 30 * 86400


def test_credentials_for_the_vault_are_printed_nowhere(server: Running, state_dir: Path) -> None:
    result = server.command("clients", "add", "cron", "--to-vault", "cron-entry", "--json")
    entry = DirectoryVault(state_dir / "vault").read("cron-entry")
    shown = json.loads(result.stdout)
    assert entry["client_secret"] not in result.output
    assert (shown["client_id"], shown["vault_entry"]) == ("cron", "cron-entry")
    answer = server.ask(authorization=server.basic(entry["client_id"], entry["client_secret"]))
    assert answer.status_code == 200


def test_a_vault_that_can_not_be_written_says_what_to_do(server: Running, state_dir: Path) -> None:
    lock = state_dir / "vault" / "entry" / "..lock"
    lock.mkdir(parents=True)  # a folder where the lock should be: no writer gets in
    code, line = error_of(server, "clients", "add", "cron", "--to-vault", "entry")
    assert (code, "secrets add cron --to-vault entry" in line) == (1, True)
    lock.rmdir()
    assert object_of(server, "secrets", "add", "cron", "--to-vault", "entry")["client_id"] == "cron"
    states = [row["state"] for row in object_of(server, "secrets", "list", "cron")]
    assert sorted(states) == ["live", "revoked"]


def test_where_the_vault_can_not_be_asked_no_client_is_registered(
    server: Running, state_dir: Path
) -> None:
    (state_dir / "vault").write_text("no folder")
    assert error_of(server, "clients", "add", "cron", "--to-vault", "entry")[0] == 1
    assert len(object_of(server, "clients", "list")) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["clients", "add", "worker"], 3),
     (["clients", "add", "http://a"], 1),
     (["clients", "add", "cron", "--scope", "Admin"], 1),
     (["clients", "add", "cron", "--scope", "Read", "--no-scope"], 2),
     (["clients", "add", "cron", "--auth-method", "none"], 2),
     (["clients", "add", "cron", "--to-vault", "../x"], 2),
     (["clients", "add"], 2),
     (["clients", "show", "nobody"], 1),
     (["clients", "disable", "nobody"], 1),
     (["secrets", "list", "nobody"], 1),
     (["secrets", "add", "nobody"], 1),
     (["secrets", "revoke", "worker", "x", "--yes"], 1),
     (["resources", "add", BANK, "--scope", "Other"], 3),
     (["resources", "add", "bank", "--scope", "Read"], 1),
     (["resources", "add", "urn:new"], 2),
     (["keys", "generate", "--algorithm", "HS256"], 2),
     (["keys", "rotate", "--algorithm", "HS256"], 2),
     (["keys", "revoke"], 2),
     (["keys", "revoke", "some-kid", "--all"], 2),
     (["keys", "revoke", "no-such-kid", "--yes"], 1),
     (["keys", "import", "/no/such/file"], 2)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    server: Running, arguments: list[str], code: int
) -> None:
    result = server.command(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_clients_are_listed(server: Running) -> None:
    assert object_of(server, "clients", "list") == [
        {
            "client_id": "worker",
            "token_endpoint_auth_method": "client_secret_basic",
            "default_resource": BANK,
            "id_token": True,
            "disabled": False,
        }
    ]


def test_a_list_is_an_aligned_table(server: Running) -> None:
    lines = server.command("resources", "list").stdout.splitlines()
    assert lines == [
        "uri                     scope        default",
        "http://localhost:9001   Read Write   yes",
        "https://ledger.example  Append Read  no",
    ]


def test_an_empty_list_says_so(make: Callable[..., Running], tmp_path: Path) -> None:
    server = make(database_url=f"sqlite:///{tmp_path / 'other.db'}")
    assert server.command("migrate").exit_code == 0
    assert server.command("clients", "list").stdout == "none\n"


def test_a_client_is_shown_with_its_scopes_by_resource(server: Running) -> None:
    shown = server.command("clients", "show", "worker").stdout
    assert "scopes                      http://localhost:9001: Read Write\n" in shown


def test_a_client_is_disabled(server: Running) -> None:
    object_of(server, "clients", "disable", "worker")
    assert object_of(server, "clients", "show", "worker")["disabled"] is True


def test_a_third_secret_is_refused_with_what_to_do(server: Running) -> None:
    object_of(server, "secrets", "add", "worker")
    code, line = error_of(server, "secrets", "add", "worker")
    assert (code, "secrets revoke worker" in line) == (1, True)


def test_secrets_are_listed_with_their_states(server: Running, state_dir: Path) -> None:
    first = object_of(server, "secrets", "list", "worker")[0]["secret_id"]
    object_of(server, "secrets", "add", "worker", "--secret-lifetime-days", "1")
    object_of(server, "secrets", "revoke", "worker", first, "--yes")
    server.clock.time += 86400
    (state_dir / "vault" / "entry" / "..lock").mkdir(parents=True)
    server.command("secrets", "add", "worker", "--to-vault", "entry")
    states = [row["state"] for row in object_of(server, "secrets", "list", "worker")]
    assert sorted(states) == ["expired", "revoked", "undelivered"]


def test_a_resource_is_registered_again_with_no_harm(server: Running) -> None:
    again = ["resources", "add", BANK, "--scope", "Read", "--scope", "Write", "--default"]
    assert object_of(server, *again) == {"uri": BANK, "scope": "Read Write", "default": True}


def test_a_database_without_tables_is_one_line(
    make: Callable[..., Running], tmp_path: Path
) -> None:
    server = make(database_url=f"sqlite:///{tmp_path / 'other.db'}")
    code, line = error_of(server, "clients", "list")
    assert (code, "migrate" in line) == (1, True)


def test_a_client_can_be_granted_further_scopes_and_another_default(server: Running) -> None:
    object_of(server, "clients", "add", "cron", "--scope", "Read")
    wider = object_of(server, "clients", "grant", "cron", "--scope", "Write")
    assert (wider["scope"], wider["default_resource"]) == ("Read Write", BANK)
    moved = object_of(server, "clients", "grant", "cron", "--resource", LEDGER, "--default")
    assert moved["default_resource"] == LEDGER
    assert moved["scopes"] == {BANK: ["Read", "Write"], LEDGER: ["Append", "Read"]}


def test_a_client_without_scopes_gets_its_default_resource_with_the_first(server: Running) -> None:
    object_of(server, "clients", "add", "cron", "--no-scope")
    granted = object_of(server, "clients", "grant", "cron")
    assert (granted["scope"], granted["default_resource"]) == ("Read Write", BANK)


def test_a_scope_that_the_resource_lacks_can_not_be_granted(server: Running) -> None:
    object_of(server, "clients", "add", "cron")
    status, error = error_of(server, "clients", "grant", "cron", "--scope", "Append")
    assert (status, "has no scope 'Append'" in error) == (1, True)
