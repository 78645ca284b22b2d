"""The jobs `reconcile` and `full-audit` with their database: what is kept, and what is not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from client_service.app import MIGRATIONS, ClientService
from client_service.jobs import FULL_AUDIT, RECONCILE
from client_service.kept_pages import pages_kept
from client_service.models import Job, KeptPage, Run
from client_service.runs import Trigger, find_run
from client_service.schedule import Lease
from shared.database import Database, migrate
from shared.settings import STATE_DIR_VARIABLE
from tests.stack.loopback import Asked, LoopbackServer, Reply
from tests.stack.postgres import PostgresDatabase
from tests.unit.client_service.book import Book

ROOT = Path(__file__).resolve().parents[3]
LENGTH = 1203
DEADLINE_SECONDS = 30


@pytest.fixture
def book(server: LoopbackServer) -> Book:
    return Book(server, [number * 31 % 977 - 400 for number in range(LENGTH)])


def taken(service: ClientService, job: str) -> Lease:
    lease = service.schedules[job].take_now(Trigger.REQUEST)
    assert lease is not None
    return lease


def worked(service: ClientService, job: str) -> Run:
    lease = taken(service, job)
    service.worker.work(lease)
    run = find_run(service.database, lease.run_id)
    assert run is not None
    return run


def cursor_of(database: Database, job: str) -> dict[str, Any]:
    with database.reading() as session:
        cursor = session.scalars(select(Job.cursor).where(Job.name == job)).one()
    return dict(cursor or {})


def result_of(run: Run) -> dict[str, Any]:
    assert run.result is not None
    return run.result


def pages_asked(server: LoopbackServer) -> list[str]:
    """Return after which transaction each page was asked for."""
    return [asked.query.get("after", "0") for asked in server.asked if "until" in asked.query]


def test_a_reconciliation_keeps_the_digests_by_which_an_audit_passes(
    service: ClientService, book: Book
) -> None:
    reconciled, audited = worked(service, RECONCILE), worked(service, FULL_AUDIT)

    assert [page.last for page in pages_kept(service.database, RECONCILE, 0, LENGTH)] == [500, 1000]
    for run in reconciled, audited:
        assert run.status == "succeeded"
        result = result_of(run)
        assert (result["balanced"], result["transactions_read"]) == (True, LENGTH)
        assert (result["balance"], result["findings"]) == (book.balance, [])


def test_digests_are_kept_replaced_and_held_against_on_postgresql_too(
    make_app: Callable[..., Flask], book: Book, postgres_database: PostgresDatabase
) -> None:
    given = {"database_url": postgres_database.url, "database_password": postgres_database.password}
    service: ClientService = make_app(**given).extensions["client_service"]
    migrate(service.database, MIGRATIONS)
    worked(service, RECONCILE)
    first = pages_kept(service.database, RECONCILE, 0, LENGTH)
    book.end_at(700)
    book.book(*[3] * 400)
    with service.database.writing() as session:
        session.execute(update(Job).values(cursor=None))  # so that all is read anew

    worked(service, RECONCILE)
    book.falsify(2, amount=1)
    audited = result_of(worked(service, FULL_AUDIT))

    second = pages_kept(service.database, RECONCILE, 0, LENGTH)
    assert [page.last for page in second] == [500, 1000]
    assert [old == new for old, new in zip(first, second, strict=True)] == [True, False]
    assert [finding["until"] for finding in audited["findings"]] == [500]


def test_the_audit_tells_an_old_transaction_that_was_changed_and_the_log_warns(
    service: ClientService, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    worked(service, RECONCILE)
    book.falsify(700, reference="something else")

    reconciled, audited = worked(service, RECONCILE), worked(service, FULL_AUDIT)

    assert result_of(reconciled)["balanced"]
    finding = result_of(audited)["findings"][0]
    assert (finding["kind"], finding["account_id"]) == ("changed", "acc-1")
    assert (finding["after"], finding["until"]) == (500, 1000)
    assert not result_of(audited)["balanced"]
    assert audited.detail is not None
    assert "transactions 501 to 1000 are not those read before" in audited.detail
    assert caplog.records[-1].levelname == "WARNING"
    assert "transactions 501 to 1000" in caplog.records[-1].getMessage()


@pytest.mark.usefixtures("book")
def test_an_audit_before_the_first_reconciliation_says_that_it_audited_nothing(
    service: ClientService,
) -> None:
    run = worked(service, FULL_AUDIT)

    assert (run.status, result_of(run)["transactions_read"]) == ("succeeded", 0)
    assert (
        run.detail == "no transaction of this account has been reconciled yet: nothing is audited"
    )


def test_an_audit_tells_what_does_not_add_up_though_the_digests_are_lost(
    service: ClientService, book: Book
) -> None:
    worked(service, RECONCILE)
    with service.database.writing() as session:
        session.execute(delete(KeptPage))
    book.falsify(3, amount=5)

    (finding,) = result_of(worked(service, FULL_AUDIT))["findings"]

    assert (finding["kind"], finding["after"], finding["until"]) == ("changed", 0, LENGTH)


@pytest.mark.usefixtures("book")
def test_a_dry_run_reads_all_and_writes_nothing(
    service: ClientService, server: LoopbackServer
) -> None:
    run = service.worker.try_out(RECONCILE)

    assert (result_of(run)["balanced"], result_of(run)["transactions_read"]) == (True, LENGTH)
    assert len(pages_asked(server)) == 3
    with service.database.reading() as session:
        rows = [session.query(table).count() for table in (Job, Run, KeptPage)]
    assert rows == [0, 0, 0]


def test_a_job_that_was_taken_over_keeps_no_page_more(
    service: ClientService, server: LoopbackServer, book: Book
) -> None:
    answer = book.answer

    def take_over(asked: Asked) -> Reply:
        if asked.query.get("after") == "500":
            with service.database.writing() as session:
                session.execute(update(Job).values(lease_end=1.0))
            taken(service, RECONCILE)
        return answer(asked)

    server.reply("/transactions", take_over)

    run = worked(service, RECONCILE)

    assert run.status == "interrupted"
    assert [page.last for page in pages_kept(service.database, RECONCILE, 0, LENGTH)] == [500]
    assert cursor_of(service.database, RECONCILE)["reading"]["reached"]["sequence"] == 500
    assert len(pages_asked(server)) == 2


def test_a_run_that_is_killed_is_taken_up_after_its_last_page(
    make_app: Callable[..., Flask],
    database: Database,
    server: LoopbackServer,
    book: Book,
    tmp_path: Path,
) -> None:
    service: ClientService = make_app(lease_seconds=1, wait_seconds=10).extensions["client_service"]
    reached, go_on = Event(), Event()

    def hold(asked: Asked) -> Reply:
        if asked.query.get("after") == "1000" and not reached.is_set():
            reached.set()
            go_on.wait(DEADLINE_SECONDS)
        return book.answer(asked)

    server.reply("/transactions", hold)
    with subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "client_service.app", "run-once"],
        cwd=ROOT,
        env=environment(service, tmp_path),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        assert reached.wait(DEADLINE_SECONDS)
        process.send_signal(signal.SIGKILL)
    go_on.set()
    saved = cursor_of(database, RECONCILE)["reading"]
    book.book(99)

    lease = service.schedules[RECONCILE].take_soon(Trigger.COMMAND, DEADLINE_SECONDS)
    assert lease is not None
    service.worker.work(lease)

    assert (saved["reached"]["sequence"], saved["target"]["sequence"]) == (1000, LENGTH)
    assert saved["target"]["entry_sum"] == book.balance - 99
    run = find_run(database, lease.run_id)
    assert run is not None
    result = result_of(run)
    assert (result["balanced"], result["as_of"]) == (True, LENGTH)
    assert result["transactions_read"] == LENGTH - 1000
    assert [page.last for page in pages_kept(database, RECONCILE, 0, LENGTH)] == [500, 1000]


def environment(service: ClientService, folder: Path) -> dict[str, str]:
    """Return the environment of a process with the settings of ``service``."""
    settings = service.settings
    ours = {
        "DATABASE_URL": settings.database_url,
        "VAULT_DIRECTORY": str(settings.vault_directory),
        "ISSUER": settings.issuer,
        "API_URL": settings.api_url,
        "LEASE_SECONDS": "1",
        "TRANSPORT": "plain-http",
    }
    prefixed = {f"CLIENT_SERVICE_{name}": value for name, value in ours.items()}
    return os.environ | prefixed | {STATE_DIR_VARIABLE: str(folder), "FLASK_SKIP_DOTENV": "1"}
