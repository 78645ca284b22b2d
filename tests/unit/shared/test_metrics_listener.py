import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from prometheus_client import values
from pydantic_settings import SettingsConfigDict

from shared.metrics import EXTENSION, FOLDER_VARIABLE, Metrics
from shared.metrics_listener import MetricsServer, gunicorn_hooks
from shared.settings import MetricsSettings, read_settings
from tests.stack.local_stack import free_ports

TIMEOUT_SECONDS = 5


class BankSettings(MetricsSettings):
    model_config = SettingsConfigDict(env_prefix="BANK_")

    bind: str = "127.0.0.1:9001"
    database_url: str = "sqlite:///bank.db"


class BrokenMetrics(Metrics):
    def text(self) -> bytes:
        raise RuntimeError("broken")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setblocking(False)
        yield bound


def serve(listener: socket.socket, metrics: Metrics) -> str:
    Thread(target=MetricsServer(listener, metrics).serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_metrics_are_shown_at_their_path_alone(listener: socket.socket) -> None:
    metrics = Metrics()
    metrics.counter("runs", "Runs.").inc()
    url = serve(listener, metrics)

    shown = requests.get(f"{url}/metrics?x=1", timeout=TIMEOUT_SECONDS)

    assert (shown.status_code, "runs_total 1.0" in shown.text) == (200, True)
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
    assert "Python" not in shown.headers["Server"]
    assert requests.get(f"{url}/other", timeout=TIMEOUT_SECONDS).status_code == 404


def test_of_two_servers_on_one_socket_one_answers(listener: socket.socket) -> None:
    serve(listener, Metrics())
    url = serve(listener, Metrics())

    answers = [requests.get(f"{url}/metrics", timeout=TIMEOUT_SECONDS) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}


def test_a_bug_closes_the_connection_and_is_logged(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    url = serve(listener, BrokenMetrics())

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/metrics", timeout=TIMEOUT_SECONDS)

    assert "could not show the metrics" in caplog.text


def test_without_an_address_there_is_nothing_to_hook() -> None:
    assert gunicorn_hooks("bank", BankSettings()) == {}


def test_the_port_of_the_service_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_METRICS_BIND", "0.0.0.0:9001")

    with pytest.raises(SystemExit, match=r"BANK_METRICS_BIND: .*another port"):
        read_settings(BankSettings)


def test_an_address_that_is_taken_stops_the_start_with_the_settings_name(
    listener: socket.socket,
) -> None:
    taken = f"127.0.0.1:{listener.getsockname()[1]}"
    hooks = gunicorn_hooks("bank", BankSettings(metrics_bind=taken))

    with pytest.raises(SystemExit, match="BANK_METRICS_BIND: cannot listen there: Address already"):
        hooks["on_starting"](SimpleNamespace())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return gunicorn's master after its start, its hooks with it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(FOLDER_VARIABLE, "")  # restored afterwards
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    registered: list[tuple[Any, ...]] = []
    monkeypatch.setattr("atexit.register", lambda *call: registered.append(call))
    bind = f"127.0.0.1:{free_ports(1)[0]}"
    hooks = gunicorn_hooks("bank", BankSettings(metrics_bind=bind))
    server = SimpleNamespace(WORKERS={}, hooks=hooks, at_exit=registered, url=f"http://{bind}")
    hooks["on_starting"](server)
    yield server
    server.metrics_listener.close()


def test_a_new_worker_takes_the_lowest_number_that_is_free(started: Any) -> None:
    workers = [SimpleNamespace() for _ in range(4)]
    for pid, worker in enumerate(workers[:3]):
        started.hooks["pre_fork"](started, worker)
        started.WORKERS[pid] = worker
    del started.WORKERS[1]
    started.hooks["pre_fork"](started, workers[3])

    assert [worker.metrics_number for worker in workers] == [0, 1, 2, 1]


def test_a_worker_counts_in_the_folder_and_answers_on_the_listener(started: Any) -> None:
    worker = SimpleNamespace()
    started.hooks["pre_fork"](started, worker)
    started.hooks["post_fork"](started, worker)
    metrics = Metrics()
    metrics.counter("runs", "Runs.").inc()
    worker.wsgi = SimpleNamespace(extensions={EXTENSION: metrics})
    started.hooks["post_worker_init"](worker)

    shown = requests.get(f"{started.url}/metrics", timeout=TIMEOUT_SECONDS).text

    assert "runs_total 1.0" in shown
    assert [file.name for file in Path(os.environ[FOLDER_VARIABLE]).iterdir()] == ["counter_0.db"]


def test_the_folder_is_private_and_ends_with_the_process_that_made_it(started: Any) -> None:
    folder = Path(os.environ[FOLDER_VARIABLE])
    ((remove, *arguments),) = started.at_exit
    mode = folder.stat().st_mode & 0o777
    remove(arguments[0], arguments[1] + 1)  # as in a worker, which is another process
    is_left_by_a_worker = folder.exists()
    remove(*arguments)

    assert (mode, is_left_by_a_worker, folder.exists()) == (0o700, True, False)
