import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import update

from resource_server.app import create_app
from resource_server.models import Account
from resource_server.settings import ResourceServerSettings
from shared.database import Database

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands configure logging for their process; this one is the tests'."""
    for group in ("access", "ledger"):
        monkeypatch.setattr(f"resource_server.cli.{group}.configure_logging", lambda *_: None)


@pytest.fixture
def run(bank: Callable[..., Flask]) -> Run:
    runner = bank().test_cli_runner()
    return lambda *arguments: runner.invoke(args=list(arguments))


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    return lambda *arguments: json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def empty_bank() -> Iterator[Flask]:
    app = create_app(ResourceServerSettings())
    yield app
    database: Database = app.extensions["resource_server"]
    database.engine.dispose()


def test_migrate_and_seed_make_the_demos_bank(empty_bank: Flask) -> None:
    runner = empty_bank.test_cli_runner()
    lines = [
        runner.invoke(args=command).stdout
        for command in (["migrate"], ["ledger", "seed-demo"], ["ledger", "seed-demo"])
    ]

    assert lines == [
        "the schema is up to date\n",
        "made: demo-account has 365 transactions\n",
        "was there: demo-account has 365 transactions\n",
    ]


def test_seed_demo_tells_the_account_as_json(run_json: Callable[..., Any]) -> None:
    assert run_json("ledger", "seed-demo") == {
        "account_id": "demo-account",
        "currency": "EUR",
        "balance": 2_002_197,
        "as_of": 365,
        "new": False,
    }


def test_seed_adds_transactions_and_tells_the_account(run_json: Callable[..., Any]) -> None:
    result = run_json("ledger", "seed", "--transactions", "31", "--account", "demo-account")

    assert (result["account_id"], result["as_of"], result["made"]) == ("demo-account", 396, 31)
    assert result["seconds"] >= 0


def test_seed_makes_an_account_of_its_own(run: Run) -> None:
    told = run("ledger", "seed", "--transactions", "3").stdout

    assert told.startswith("large-account has 3 transactions; 3 made in ")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        pytest.param(["--transactions", "0"], 2, "0 is not in the range", id="none"),
        pytest.param([], 2, "--transactions", id="no-number"),
        pytest.param(
            ["--transactions", "1", "--account", "a b"], 1, "letters, digits", id="malformed"
        ),
        pytest.param(
            ["--transactions", "1", "--account", "large-counterparty"],
            1,
            "seeded from",
            id="source",
        ),
    ],
)
def test_a_seed_that_makes_no_sense_is_refused(
    options: list[str], code: int, message: str, run: Run
) -> None:
    result = run("ledger", "seed", *options)

    assert result.exit_code == code
    assert message in result.stderr


def test_verify_says_that_the_book_adds_up(run: Run, run_json: Callable[..., Any]) -> None:
    result = run("ledger", "verify")

    assert (result.exit_code, result.stdout) == (
        0,
        "2 accounts with 730 entries: the book adds up\n",
    )
    assert run_json("ledger", "verify") == {
        "ok": True,
        "accounts": 2,
        "entries": 730,
        "findings": [],
    }


def test_verify_says_what_is_wrong_and_exits_with_1(run: Run, database: Database) -> None:
    with database.writing() as session:
        session.execute(update(Account).values(balance=Account.balance + 1))
    lines, as_json = run("ledger", "verify"), run("ledger", "verify", "--json")

    assert (lines.exit_code, as_json.exit_code) == (1, 1)
    assert lines.stdout.splitlines() == [
        "account demo-account: the balance is 2002198, the entries add up to 2002197",
        "account demo-counterparty: the balance is -2002196, the entries add up to -2002197",
        "2 accounts with 730 entries: 2 findings",
    ]
    assert json.loads(as_json.stdout)["findings"][0] == {
        "where": "account demo-account",
        "what": "the balance is 2002198, the entries add up to 2002197",
    }


def test_a_clients_first_account_becomes_its_default(run_json: Callable[..., Any]) -> None:
    first = run_json("access", "grant", "worker", "demo-account")
    second = run_json("access", "grant", "worker", "demo-counterparty")

    assert [first["is_default"], second["is_default"]] == [True, False]


def test_a_default_can_be_moved(run: Run, run_json: Callable[..., Any]) -> None:
    run("access", "grant", "worker", "demo-account")
    run("access", "grant", "worker", "demo-counterparty", "--default")

    assert [row for row in run_json("access", "list") if row["client_id"] == "worker"] == [
        {"client_id": "worker", "account_id": "demo-account", "is_default": False},
        {"client_id": "worker", "account_id": "demo-counterparty", "is_default": True},
    ]


def test_a_second_grant_of_the_same_changes_nothing(run: Run) -> None:
    first = run("access", "grant", "worker", "demo-account")
    second = run("access", "grant", "worker", "demo-account")

    assert (first.exit_code, first.stdout) == (0, "worker sees demo-account (default)\n")
    assert (second.exit_code, second.stdout) == (0, first.stdout)


def test_the_default_that_is_granted_again_stays_it(run: Run) -> None:
    run("access", "grant", "worker", "demo-account")

    assert "(default)" in run("access", "grant", "worker", "demo-account", "--default").stdout


def test_access_is_listed(run: Run) -> None:
    assert run("access", "list").stdout == "* sees demo-account (default)\n"


def test_access_is_revoked_and_a_second_time_is_fine(run: Run) -> None:
    lines = [run("access", "revoke", "*", "demo-account").stdout for _ in range(2)]

    assert lines == ["* no longer sees demo-account\n", "* did not see demo-account\n"]
    assert run("access", "list").stdout == "nobody sees anything\n"


def test_revoke_tells_as_json_whether_there_was_access(run_json: Callable[..., Any]) -> None:
    assert run_json("access", "revoke", "*", "demo-account")["revoked"] is True
    assert run_json("access", "revoke", "*", "demo-account")["revoked"] is False


@pytest.mark.parametrize("granted", [True, False])
def test_revoke_says_that_a_client_still_sees_what_every_client_does(
    granted: bool, run: Run, run_json: Callable[..., Any]
) -> None:
    if granted:
        run("access", "grant", "worker", "demo-account")
    told = run_json("access", "revoke", "worker", "demo-account")

    assert (told["revoked"], told["still_sees"]) == (granted, True)
    assert run("access", "revoke", "worker", "demo-account").stdout == (
        "worker still sees demo-account, as every client does: revoke it from *\n"
    )


@pytest.mark.parametrize(
    ("client", "account", "message"),
    [
        pytest.param("worker", "nobodys", "no such account", id="unknown-account"),
        pytest.param("a worker", "demo-account", "letters, digits", id="malformed-client"),
        pytest.param("**", "demo-account", "letters, digits", id="two-asterisks"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(
    client: str, account: str, message: str, run: Run
) -> None:
    result = run("access", "grant", client, account)

    assert result.exit_code == 1
    assert message in result.stderr
