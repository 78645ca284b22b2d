import json
import logging
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from client_service.app import ClientService
from client_service.runs import Trigger, latest_runs
from tests.stack.loopback import Asked, LoopbackServer, Reply
from tests.unit.client_service.conftest import CONTROL_TOKEN, transactions


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def run_once(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["run-once", *arguments])


def test_a_run_that_succeeds_is_told_in_a_line(app: Flask) -> None:
    result = run_once(app)

    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert "account acc-1 is balanced; 5 transactions read" in result.stdout


def test_with_json_a_run_is_one_object_and_the_log_is_elsewhere(app: Flask) -> None:
    result = run_once(app, "--json")

    run = json.loads(result.stdout)
    assert (run["status"], run["error"], run["result"]["sum"]) == ("succeeded", None, 1250)
    assert "of reconcile started" in result.stderr
    assert run["trace_id"] in result.stderr


def test_a_run_that_fails_is_told_in_a_line_and_by_the_exit_code(
    app: Flask, server: LoopbackServer
) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client", "error_description": "no"}))

    result = run_once(app)

    assert result.exit_code == 1
    assert result.stdout.endswith("failed: 401 invalid_client (no)\n")
    assert "Traceback" not in result.output


def test_a_difference_is_told(app: Flask, server: LoopbackServer) -> None:
    members = {"account_id": "a", "currency": "EUR", "balance": 7, "as_of": 0}
    server.reply("/account", Reply(document={**members, "transactions": "/t"}))

    result = run_once(app)

    assert (result.exit_code, "account a is off by 7" in result.stdout) == (0, True)


def test_a_run_under_way_elsewhere_is_said(app: Flask, service: ClientService) -> None:
    service.schedules["reconcile"].take_now(Trigger.REQUEST)

    result = run_once(app)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: another run holds the job" in result.stderr


def test_a_run_under_way_elsewhere_is_waited_for(service: ClientService) -> None:
    service.schedules["reconcile"].take_now(Trigger.REQUEST)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            with service.database.writing() as session:
                session.execute(text("UPDATE job SET lease_end = 1"))

    lease = service.schedules["reconcile"].take_soon(Trigger.COMMAND, 30, sleep)

    assert lease is not None
    assert lease.fence == 2
    assert len(pauses) == 3


def test_a_database_without_tables_is_said_in_a_line(
    make_app: Callable[..., Flask], tmp_path: object
) -> None:
    app = make_app(database_url=f"sqlite:///{tmp_path}/empty.db")

    result = run_once(app)

    assert result.exit_code == 1
    assert "has `flask --app client_service.app migrate` been run?" in result.stderr
    assert "Traceback" not in result.output


def test_a_database_that_goes_away_during_the_run_is_said_in_a_line(
    app: Flask, service: ClientService, server: LoopbackServer
) -> None:
    def answer(_asked: object) -> Reply:
        with service.database.writing() as session:
            session.execute(text("DROP TABLE job"))
        return Reply(503)

    server.reply("/account", answer)

    result = run_once(app)

    assert result.exit_code == 1
    assert "Error: the database cannot be used" in result.stderr


def test_a_bug_fails_the_run_and_stands_in_the_log(
    app: Flask, service: ClientService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.worker, "_jobs", {"reconcile": None})

    result = run_once(app)

    assert result.exit_code == 1
    assert result.stdout.endswith("failed: internal_error (AttributeError)\n")
    assert '"exception":"Traceback' in result.stderr


def test_migrate_is_safe_to_run_again(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["migrate"])

    assert (result.exit_code, result.stdout) == (0, "the schema is up to date\n")


def test_a_token_is_printed_and_nothing_else(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["token"])

    assert result.exit_code == 0
    assert result.stdout == "first\n"


def test_without_a_token_the_command_says_why(app: Flask, server: LoopbackServer) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client", "error_description": "no"}))

    result = app.test_cli_runner().invoke(args=["token"])

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: 401 invalid_client" in result.stderr


def test_a_dry_run_tells_what_a_run_would_and_stores_nothing(
    app: Flask, service: ClientService
) -> None:
    result = run_once(app, "--dry-run", "--json")

    run = json.loads(result.stdout)
    assert (run["id"], run["status"], run["result"]["sum"]) == (None, "succeeded", 1250)
    assert list(latest_runs(service.database)) == []
    assert service.schedules["reconcile"].state() is None


def test_a_dry_run_begins_at_the_cursor_and_leaves_it(app: Flask, service: ClientService) -> None:
    run_once(app)
    before = service.schedules["reconcile"].state()

    result = run_once(app, "reconcile", "--dry-run")

    after = service.schedules["reconcile"].state()
    assert result.stdout == (
        "dry run of reconcile succeeded: account acc-1 is balanced; 0 transactions read, "
        "balance 1250 EUR (minor units)\n"
    )
    assert before is not None
    assert after is not None
    assert (after.fence, after.cursor) == (before.fence, before.cursor)


def test_a_dry_run_needs_no_lease(app: Flask, service: ClientService) -> None:
    service.schedules["reconcile"].take_now(Trigger.REQUEST)

    assert run_once(app, "--dry-run").exit_code == 0


def test_a_dry_run_that_fails_says_so(
    app: Flask, server: LoopbackServer, service: ClientService, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client", "error_description": "no"}))
    refused = run_once(app, "--dry-run")
    monkeypatch.setattr(service.worker, "_jobs", {"reconcile": None})
    broken = run_once(app, "--dry-run")

    assert [refused.exit_code, broken.exit_code] == [1, 1]
    assert refused.stdout == "dry run of reconcile failed: 401 invalid_client (no)\n"
    assert broken.stdout == "dry run of reconcile failed: internal_error (AttributeError)\n"


def test_a_job_that_does_not_exist_is_said(app: Flask) -> None:
    result = run_once(app, "no-job")

    assert result.exit_code == 2
    assert "'no-job' is not one of 'reconcile', 'full-audit'" in result.stderr


def test_a_command_that_is_told_to_stop_ends_after_the_page_in_hand(
    app: Flask, server: LoopbackServer, service: ClientService
) -> None:
    def stop(asked: Asked) -> Reply:
        os.kill(os.getpid(), signal.SIGTERM)
        return transactions(asked)

    server.reply("/transactions", stop)
    before = signal.getsignal(signal.SIGTERM)

    result = run_once(app)

    assert result.exit_code == 1
    assert result.stdout.endswith("interrupted: interrupted (its process was stopped)\n")
    assert server.paths().count("/transactions") == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_control_token_is_printed_and_nothing_else(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["control-token"])

    assert (result.exit_code, result.output) == (0, CONTROL_TOKEN + "\n")


def test_a_control_token_that_is_not_set_is_said(make_app: Callable[..., Flask]) -> None:
    result = make_app(control_token=None).test_cli_runner().invoke(args=["control-token"])

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: no control token is set" in result.stderr
