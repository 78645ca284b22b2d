import logging
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from client_service.app import ClientService
from client_service.models import Job, Run
from client_service.runs import Trigger, find_run
from client_service.schedule import Lease
from client_service.task import Report, Task, Work
from client_service.token_renewal import DaemonTimer
from tests.stack.loopback import Asked, LoopbackServer, Reply


def taken(service: ClientService) -> Lease:
    lease = service.schedules["reconcile"].take_now(Trigger.REQUEST)
    assert lease is not None
    return lease


def worked(service: ClientService) -> Run:
    lease = taken(service)
    service.worker.work(lease)
    run = find_run(service.database, lease.run_id)
    assert run is not None
    return run


def test_a_run_that_balances_succeeds(
    service: ClientService, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run = worked(service)

    assert (run.status, run.error) == ("succeeded", None)
    assert run.result is not None
    assert (run.result["sum"], run.result["balance"]) == (1250, 1250)
    assert "account acc-1 is balanced; 5 transactions read" in caplog.text


def test_a_run_that_does_not_balance_succeeds_and_warns(
    service: ClientService, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    members = {"account_id": "a", "currency": "EUR", "balance": 7, "as_of": 0}
    server.reply("/account", Reply(document={**members, "transactions": "/t"}))

    run = worked(service)

    assert run.result is not None
    assert (run.status, run.result["sum"], run.result["balance"]) == ("succeeded", 0, 7)
    assert caplog.records[-1].levelname == "WARNING"


def test_the_trace_is_stored_before_the_first_request_is_sent(
    service: ClientService, server: LoopbackServer
) -> None:
    stored: list[str | None] = []

    def answer(asked: Asked) -> Reply:
        with service.database.reading() as session:
            stored.extend(run.trace_id for run in session.query(Run))
        stored.append(asked.headers["traceparent"].split("-")[1])
        return Reply(503)

    server.reply("/.well-known/openid-configuration", answer)

    run = worked(service)

    assert stored == [run.trace_id, run.trace_id]


def test_every_request_carries_the_trace_of_the_run(
    service: ClientService, server: LoopbackServer
) -> None:
    run = worked(service)

    traces = {asked.headers["traceparent"].split("-")[1] for asked in server.asked}
    assert traces == {run.trace_id}


@pytest.mark.parametrize(
    ("path", "reply", "error"),
    [
        ("/token", Reply(401, {"error": "invalid_client"}), "401 invalid_client"),
        ("/token", Reply(500), "500 invalid_answer"),
        ("/account", Reply(503), "503 Service Unavailable"),
        (
            "/account",
            Reply(403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
            "403 insufficient_scope",
        ),
        ("/.well-known/openid-configuration", Reply(404), "404 invalid_metadata"),
    ],
    ids=["invalid_client", "500", "503", "insufficient_scope", "no metadata"],
)
def test_a_failed_run_has_the_status_and_the_code(
    service: ClientService, server: LoopbackServer, path: str, reply: Reply, error: str
) -> None:
    server.reply(path, reply)

    run = worked(service)

    assert (run.status, run.error, run.result) == ("failed", error, None)


def test_a_server_that_is_down_fails_the_run_without_a_status(
    service: ClientService, server: LoopbackServer
) -> None:
    server.stop()

    assert worked(service).error == "no_answer"


def test_a_run_in_the_background_whose_database_goes_away_is_one_line_in_the_log(
    service: ClientService, caplog: pytest.LogCaptureFixture
) -> None:
    lease = taken(service)
    with service.database.writing() as session:
        session.execute(text("DROP TABLE run"))

    service.worker.work_in_background(lease)
    service.worker.stop(seconds=10)

    cut_off = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in cut_off] == [
        f"run {lease.run_id} is cut off: the database does not answer now"
    ]
    assert cut_off[0].exc_info is None


def test_what_a_server_echoes_is_not_shown_whole(
    service: ClientService, server: LoopbackServer
) -> None:
    secret = "ccs_" + "x" * 40
    error = {"error": "invalid_client", "error_description": f"{secret}\0 is wrong"}
    server.reply("/token", Reply(401, error))

    assert worked(service).detail == "(44 characters)  is wrong"


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        (
            "/token",
            Reply(400, {"error": "invalid_scope", "error_description": "half \ud800 a pair"}),
        ),
        ("/account", Reply(503, {"detail": "half \ud800 a pair"})),
    ],
    ids=["authorization server", "bank"],
)
def test_words_of_a_server_that_utf8_cannot_say_end_the_run_as_any_others(
    service: ClientService, server: LoopbackServer, path: str, reply: Reply
) -> None:
    server.reply(path, reply)

    run = worked(service)

    assert (run.status, run.detail) == ("failed", "half   a pair")


def test_a_stopping_worker_ends_its_run_before_the_next_page(
    service: ClientService, server: LoopbackServer
) -> None:
    service.worker.stop(1)

    run = worked(service)

    assert (run.status, run.detail) == ("interrupted", "its process was stopped")
    assert "/transactions" not in server.paths()


def test_a_run_that_is_stopped_has_saved_the_page_in_hand_and_the_next_goes_on_from_there(
    service: ClientService, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_at: list[Any] = []

    def work(task: Task) -> Report:
        begun_at.append(task.cursor)
        for page in range(1, 4):
            task.check()
            if page == 2:
                service.worker.take_no_page_more()
            task.save({"page": page})
        raise AssertionError("it was not stopped")

    does(service, work, monkeypatch)
    lease = service.schedules["reconcile"].take_tick()
    assert lease is not None
    service.worker.work(lease)

    again = service.schedules["reconcile"].take_tick()

    assert again is not None
    assert (again.due, again.cursor, begun_at) == (lease.due, {"page": 2}, [None])


def test_a_process_that_stops_waits_no_longer_than_it_may_for_all_its_runs_together(
    make_app: Callable[..., Flask], server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service: ClientService = make_app(stop_seconds=0.2).extensions["client_service"]
    hanging, let_go = Event(), Event()

    def work(_task: Task) -> Report:
        hanging.set()
        let_go.wait(30)
        return Report({}, "it came back at last")

    does(service, work, monkeypatch)
    service.start()
    assert hanging.wait(10)
    begun = time.monotonic()

    service.stop()

    try:
        assert time.monotonic() - begun < 10
        assert service.schedulers[0]._thread.is_alive()
    finally:
        let_go.set()
        service.schedulers[0].stop(10)


@pytest.mark.parametrize("path", ["/token", "/account"])
def test_a_process_that_stops_does_not_wait_for_the_tries_that_are_left(
    make_app: Callable[..., Flask], server: LoopbackServer, path: str
) -> None:
    patient = {"token_retry_seconds": 60, "api_retry_seconds": 60}
    service: ClientService = make_app(**patient).extensions["client_service"]
    asked = Event()

    def answer(_asked: Asked) -> Reply:
        asked.set()
        return Reply(503, headers={"Retry-After": "50"})

    server.reply(path, answer)
    lease = taken(service)
    service.worker.work_in_background(lease)
    assert asked.wait(10)
    begun = time.monotonic()

    service.stop()

    run = find_run(service.database, lease.run_id)
    assert run is not None
    assert (run.status, server.paths().count(path)) == ("interrupted", 1)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("path", ["/token", "/account"])
def test_a_process_that_stops_leaves_a_request_that_is_not_answered_in_its_time(
    make_app: Callable[..., Flask], server: LoopbackServer, path: str
) -> None:
    service: ClientService = make_app(stop_seconds=0.2).extensions["client_service"]
    asked, let_go = Event(), Event()

    def answer(_asked: Asked) -> Reply:
        asked.set()
        let_go.wait(30)
        return Reply(503)

    server.reply(path, answer)
    service.worker.work_in_background(taken(service))
    assert asked.wait(10)
    begun = time.monotonic()

    service.stop()

    try:
        assert time.monotonic() - begun < 5  # a read would wait for ten seconds
        assert service.worker._in_background is not None
        assert service.worker._in_background.daemon  # so the process ends in spite of it
    finally:
        let_go.set()


def test_a_process_that_stops_renews_no_token(service: ClientService) -> None:
    worked(service)

    service.stop()

    timer = service.tokens.timer
    assert isinstance(timer, DaemonTimer)
    assert timer._waiting is not None
    timer._waiting.join(10)
    assert not timer._waiting.is_alive()


def test_the_result_of_a_run_whose_job_was_taken_over_is_dropped(
    service: ClientService, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    def take_over(_asked: Asked) -> Reply:
        with service.database.writing() as session:
            session.execute(update(Job).values(lease_end=1.0))
        assert service.schedules["reconcile"].take_now(Trigger.COMMAND)
        return Reply(503)

    server.reply("/account", take_over)

    run = worked(service)

    assert run.status == "interrupted"
    assert "its result is dropped" in caplog.text


def breaks(service: ClientService, bug: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the job's function have a bug."""

    def work(_task: Task) -> Report:
        raise bug

    does(service, work, monkeypatch)


def does(service: ClientService, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the job's function be ``work``."""
    job = replace(service.worker._jobs["reconcile"], work=work)
    monkeypatch.setattr(service.worker, "_jobs", {"reconcile": job})


@pytest.mark.parametrize(
    ("bug", "status", "error"),
    [
        (ZeroDivisionError(), "failed", "internal_error"),
        (KeyboardInterrupt(), "interrupted", "interrupted"),
        (OperationalError("UPDATE", {}, Exception()), "interrupted", "database_away"),
    ],
    ids=["bug", "Ctrl-C", "outage"],
)
def test_a_run_that_a_bug_or_a_person_ends_is_stored_as_ended(
    service: ClientService,
    monkeypatch: pytest.MonkeyPatch,
    bug: BaseException,
    status: str,
    error: str,
) -> None:
    breaks(service, bug, monkeypatch)
    lease = taken(service)

    with pytest.raises(type(bug)):
        service.worker.work(lease)

    run = find_run(service.database, lease.run_id)
    assert run is not None
    assert (run.status, run.error, run.detail) == (status, error, type(bug).__name__)
    assert service.schedules["reconcile"].take_now(Trigger.REQUEST) is not None


def test_a_run_in_the_background_is_waited_for_at_the_end(service: ClientService) -> None:
    lease = taken(service)

    service.worker.work_in_background(lease)
    service.worker.stop(10)

    run = find_run(service.database, lease.run_id)
    assert run is not None
    assert run.status in {"succeeded", "interrupted"}


def test_a_bug_in_the_background_is_logged(
    service: ClientService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    breaks(service, ZeroDivisionError(), monkeypatch)

    service.worker.work_in_background(taken(service))
    service.worker.stop(10)

    assert caplog.records[-1].exc_info is not None
