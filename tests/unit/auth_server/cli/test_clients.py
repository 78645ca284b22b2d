import json

import pytest
from sqlalchemy import insert

from auth_server.cli import output
from auth_server.models import Client
from auth_server.registry import clients
from tests.unit.auth_server.running import Running, error_of, object_of


def names(server: Running, *options: str) -> list[str]:
    return [row["client_id"] for row in object_of(server, "clients", "list", *options)]


@pytest.fixture
def with_many(server: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A server with seven clients, which are read three at a time."""
    monkeypatch.setattr(clients, "PAGE_SIZE", 3)
    rows = [
        {
            "client_id": f"a-{number}",
            "authentication_method": "client_secret_basic",
            "may_have_id_token": False,
            "created_at": 0,
        }
        for number in range(6)
    ]
    with server.parts.database.writing() as session:
        session.execute(insert(Client), rows)
    return server


def test_all_clients_are_listed_whatever_their_number(with_many: Running) -> None:
    assert names(with_many) == [*(f"a-{number}" for number in range(6)), "worker"]


@pytest.mark.parametrize(
    ("options", "found"),
    [(["--limit", "4"], ["a-0", "a-1", "a-2", "a-3"]),
     (["--limit", "3"], ["a-0", "a-1", "a-2"]),
     (["--after", "a-4"], ["a-5", "worker"]),
     (["--after", "a-1", "--limit", "2"], ["a-2", "a-3"]),
     (["--after", "z"], [])],
)  # fmt: skip
def test_a_page_of_the_list_can_be_asked_for(
    with_many: Running, options: list[str], found: list[str]
) -> None:
    assert names(with_many, *options) == found


def test_a_long_table_is_printed_while_its_rows_come(
    with_many: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "ROWS_THAT_SET_THE_WIDTHS", 2)
    lines = with_many.command("clients", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == names(with_many)


def test_an_empty_list_is_an_empty_array(with_many: Running) -> None:
    assert with_many.command("clients", "list", "--after", "z", "--json").stdout == "[]\n"


def test_a_client_that_was_disabled_is_enabled_with_its_secret(server: Running) -> None:
    object_of(server, "clients", "disable", "worker")
    assert server.ask().status_code == 401
    assert object_of(server, "clients", "enable", "worker")["disabled"] is False
    assert server.ask().status_code == 200


def test_a_client_is_removed_with_its_secrets_and_its_name_is_free(server: Running) -> None:
    removed = object_of(server, "clients", "remove", "worker", "--yes")
    assert removed == {"client_id": "worker", "removed": True}
    assert server.ask().status_code == 401
    assert error_of(server, "secrets", "list", "worker")[0] == 1
    again = json.loads(server.command("clients", "add", "worker", "--json").stdout)
    assert again["client_secret"] != server.secret


@pytest.mark.parametrize("command", ["enable", "remove"])
def test_a_client_that_is_not_there_is_an_error(server: Running, command: str) -> None:
    code, line = error_of(server, "clients", command, "nobody")
    assert (code, "no client 'nobody'" in line) == (1, True)
