import atexit
import logging
import runpy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from client_service.app import ClientService, _in_a_trace_of_its_own
from client_service.runs import Trigger, find_run
from shared.tracing import current_trace_id
from shared.vault import DirectoryVault
from tests.stack.loopback import LoopbackServer

PACKAGE = Path(__file__).resolve().parents[3] / "client_service"


def test_making_the_application_starts_no_thread_and_no_run(app: Flask) -> None:
    assert "scheduler" not in [thread.name for thread in threading.enumerate()]
    assert app.test_client().get("/runs").get_json() == {"runs": []}


def test_it_is_ready_with_a_database_and_credentials(app: Flask) -> None:
    answer = app.test_client().get("/readyz")

    assert answer.get_json()["checks"] == {"database": True, "vault": True}


def test_it_is_not_ready_without_credentials(app: Flask, vault: DirectoryVault) -> None:
    vault.write("bank-reconciler", {"client_id": "client"})

    answer = app.test_client().get("/readyz")

    assert answer.status_code == 503
    assert answer.get_json()["checks"] == {"database": True, "vault": False}


def test_it_lives_while_its_schedulers_do(app: Flask, service: ClientService) -> None:
    client = app.test_client()
    before = client.get("/livez").status_code
    service.start()
    running = client.get("/livez").status_code
    for scheduler in service.schedulers:
        scheduler.stop(10)
        scheduler._stopped.clear()  # as if it had ended by itself

    assert (before, running, client.get("/livez").status_code) == (200, 200, 503)


def test_a_service_that_stops_lives_on(app: Flask, service: ClientService) -> None:
    service.start()
    service.stop()

    assert app.test_client().get("/livez").status_code == 200


def test_a_token_url_that_is_set_skips_discovery(
    make_app: Callable[..., Flask], server: LoopbackServer
) -> None:
    service: ClientService = make_app(token_url=server.url + "/token").extensions["client_service"]
    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None

    service.worker.work(lease)

    assert server.paths()[:2] == ["/token", "/account"]


def test_scope_resource_method_and_path_are_settings(
    make_app: Callable[..., Flask], server: LoopbackServer
) -> None:
    settings = {
        "scope": "Read",
        "resource": "http://other",
        "auth_method": "client_secret_basic",
        "api_url": server.url + "/api/",
        "account_path": "/accounts/7",
        "vault_entry": "bank-reconciler",
    }
    service: ClientService = make_app(**settings).extensions["client_service"]
    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None

    service.worker.work(lease)

    assert server.paths()[1:] == ["/token", "/api/accounts/7"]
    assert server.asked[1].form == {
        "grant_type": "client_credentials",
        "scope": "Read",
        "resource": "http://other",
    }
    run = find_run(service.database, lease.run_id)
    assert run is not None
    assert run.error == "404 Not Found"


NEVER = {"reconcile_schedule": "never", "full_audit_schedule": "never"}


@pytest.mark.parametrize(
    ("settings", "starts"),
    [({}, True), ({"scheduler": False}, False), (NEVER, False)],
    ids=["default", "scheduler=false", "never"],
)
def test_the_scheduler_starts_unless_it_is_switched_off(
    make_app: Callable[..., Flask], settings: dict[str, Any], starts: bool
) -> None:
    service: ClientService = make_app(**settings).extensions["client_service"]

    service.start()
    running = [scheduler._thread.is_alive() for scheduler in service.schedulers]
    service.stop()

    assert any(running) is starts
    assert not any(scheduler._thread.is_alive() for scheduler in service.schedulers)


def test_an_early_renewal_is_a_trace_of_its_own(service: ClientService) -> None:
    traces: list[str] = []

    _in_a_trace_of_its_own(service.provider, lambda: traces.append(current_trace_id()))

    assert traces[0] not in {"0" * 32, current_trace_id()}


def test_gunicorn_loads_an_application_whose_scheduler_runs(
    database: Any, tmp_path: Path, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setenv("CLIENT_SERVICE_DATABASE_URL", database.engine.url.render_as_string())
    monkeypatch.setenv("CLIENT_SERVICE_VAULT_DIRECTORY", str(tmp_path / "vault"))
    monkeypatch.setenv("CLIENT_SERVICE_ISSUER", "http://127.0.0.1:1")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    try:
        loaded = runpy.run_path(str(PACKAGE / "wsgi.py"))
    finally:
        root.handlers[:], root.level = handlers, level

    service = loaded["service"]
    assert [one._thread.is_alive() for one in service.schedulers] == [True, True]
    service.stop()
    assert service.stop in at_exit
    service.database.engine.dispose()


def test_gunicorn_starts_one_worker_and_lets_it_stop_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLIENT_SERVICE_TRANSPORT", "plain-http")
    monkeypatch.setenv("CLIENT_SERVICE_STOP_SECONDS", "99.5")

    loaded = runpy.run_path(str(PACKAGE / "gunicorn.conf.py"))

    assert (loaded["workers"], loaded["threads"]) == (1, 4)
    assert loaded["bind"] == "127.0.0.1:9002"
    assert loaded["graceful_timeout"] == 110


def test_a_second_worker_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SERVICE_WORKERS", "2")

    with pytest.raises(SystemExit, match="CLIENT_SERVICE_WORKERS"):
        runpy.run_path(str(PACKAGE / "gunicorn.conf.py"))
