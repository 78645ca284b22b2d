import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from client_service.app import ClientService
from client_service.arrow_events import SpanEvent, store_events
from client_service.runs import RunStatus, Trigger
from client_service.schedule import Lease


def command(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=list(arguments))


def taken(service: ClientService) -> Lease:
    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None
    return lease


@pytest.fixture
def done(service: ClientService) -> str:
    """The id of a run that succeeded."""
    lease = taken(service)
    service.worker.work(lease)
    return lease.run_id


def test_a_job_is_listed_before_it_ever_ran(app: Flask) -> None:
    job, weekly = json.loads(command(app, "jobs", "list", "--json").stdout)

    assert (weekly["name"], weekly["schedule"]) == ("full-audit", "0 3 * * SUN")
    assert (job["name"], job["schedule"]) == ("reconcile", "every 60s")
    assert job["next_due"].endswith(":00+00:00")
    assert (job["last_success"], job["owner"], job["cursor"]) == (None, None, None)


def test_a_job_is_listed_with_its_cursor_and_its_last_success(app: Flask, done: str) -> None:
    job, _weekly = json.loads(command(app, "jobs", "list", "--json").stdout)

    assert job["cursor"]["cursor"]["entry_sum"] == 1250
    assert job["last_success"] is not None
    assert f"last success {job['last_success']}\n" in command(app, "jobs", "list").stdout


def test_who_works_on_a_job_is_told(app: Flask, service: ClientService) -> None:
    lease = taken(service)

    line, _weekly = command(app, "jobs", "list").stdout.splitlines()

    assert f"last success none; run {lease.run_id} of " in line
    assert line.endswith(" is under way")


def test_a_job_without_ticks_is_due_on_demand(make_app: Callable[..., Flask]) -> None:
    listed = command(make_app(reconcile_schedule="never"), "jobs", "list")

    assert listed.stdout.startswith("reconcile (never): due on demand; last success none\n")


def test_runs_are_listed_the_newest_first(app: Flask, done: str, service: ClientService) -> None:
    lease = taken(service)

    listed = command(app, "runs", "list", "--job", "reconcile", "--json")

    assert [run["id"] for run in json.loads(listed.stdout)] == [lease.run_id, done]
    assert len(json.loads(command(app, "runs", "list", "--limit", "1", "--json").stdout)) == 1


def test_a_run_is_listed_in_a_line(app: Flask, done: str) -> None:
    line = command(app, "runs", "list").stdout

    assert line.count("\n") == 1
    assert f"reconcile by command: run {done} succeeded: account acc-1 is balanced" in line


def test_a_run_under_way_is_told(app: Flask, service: ClientService) -> None:
    lease = taken(service)

    assert f"run {lease.run_id} {RunStatus.RUNNING}" in command(app, "runs", "list").stdout


def test_a_run_is_shown_with_its_arrows(app: Flask, done: str) -> None:
    run = json.loads(command(app, "runs", "show", done, "--json").stdout)

    assert (run["id"], run["result"]["balanced"]) == (done, True)
    assert [event["arrow"] for event in run["arrows"]] == [1, 4, 4, 4, 4]
    told = command(app, "runs", "show", done).stdout
    assert f"\n  trace_id: {run['trace_id']}\n" in told
    token = run["arrows"][0]
    assert f"  {token['time']} arrow 1: REQUEST_TOKEN 200 (client_service)\n" in told
    assert told.count(" arrow 4: READ_RESOURCE 200 (client_service)\n") == 4


def test_a_refusal_is_shown_after_the_arrows(app: Flask, service: ClientService) -> None:
    lease = taken(service)
    service.schedules["reconcile"].begin(lease, "ab" * 16)
    attributes = {"time": "t", "name": "REFUSED", "status": 401, "error": "\033[2Jinvalid"}
    refused = SpanEvent("ab" * 16, "cd" * 8, {**attributes, "service": "auth_server"})
    store_events(service.database, [refused])

    told = command(app, "runs", "show", lease.run_id).stdout

    assert told.endswith("  t no arrow: REFUSED 401  [2Jinvalid (auth_server)\n")


def test_a_run_that_is_not_there_is_said(app: Flask) -> None:
    absent = command(app, "runs", "show", str(uuid.uuid4()))
    no_id = command(app, "runs", "show", "x\0y")

    assert (absent.exit_code, no_id.exit_code) == (1, 2)
    assert "Error: there is no such run, or it is no longer kept" in absent.stderr


@pytest.mark.parametrize("listed", ["jobs", "runs"])
def test_a_database_without_tables_is_said_in_a_line(
    make_app: Callable[..., Flask], tmp_path: Path, listed: str
) -> None:
    result = command(make_app(database_url=f"sqlite:///{tmp_path}/empty.db"), listed, "list")

    assert result.exit_code == 1
    assert "has `flask --app client_service.app migrate` been run?" in result.stderr
