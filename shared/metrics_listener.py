"""Shows the metrics of a gunicorn service on a listener of their own, never on the public one.

gunicorn's master binds the address before it has workers, so one that is taken stops the start.
The workers inherit the socket, and whichever is asked answers for all. So the process that forks
has no thread, nothing has to be started again when a worker dies, and all of it ends with gunicorn.
"""

import atexit
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from threading import Thread
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, values

from shared.metrics import EXTENSION, FOLDER_VARIABLE, Metrics
from shared.settings import MetricsSettings, setting_name

log = logging.getLogger(__name__)

METRICS_PATH = "/metrics"
RECEIVE_TIMEOUT_SECONDS = 5
NEVER_STOPPED_SECONDS = 3600.0  # how often the server looks whether it shall stop; it ends with us


def gunicorn_hooks(service: str, settings: MetricsSettings) -> dict[str, Callable[..., None]]:
    """Return the hooks for `gunicorn.conf.py`; none where no address is set.

    What has to outlive a reload of the configuration is kept on gunicorn's own objects.
    """
    if settings.metrics_bind is None:
        return {}

    def on_starting(server: Any) -> None:
        server.metrics_listener = _listener(settings)
        os.environ[FOLDER_VARIABLE] = folder = tempfile.mkdtemp(prefix=f"{service}-metrics-")
        atexit.register(_remove, folder, os.getpid())

    return {
        "on_starting": on_starting,
        "pre_fork": _give_a_number,
        "post_fork": _count_under_its_number,
        "post_worker_init": _answer,
    }


def _listener(settings: MetricsSettings) -> socket.socket:
    """Return a bound socket; raise SystemExit with the setting's name where it can't be."""
    host, _, port = str(settings.metrics_bind).rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        name = setting_name(type(settings), "metrics_bind")
        raise SystemExit(f"{name}: cannot listen there: {error.strerror}") from error
    listener.setblocking(False)  # of several workers that wake for one connection one gets it
    return listener


def _give_a_number(server: Any, worker: Any) -> None:
    """Give a new worker the lowest number that no living one has.

    prometheus_client names its files by the process id: every worker that dies would leave one
    for good. By number, the next worker goes on in the files of the one that it replaces.
    """
    taken = {getattr(other, "metrics_number", None) for other in server.WORKERS.values()}
    worker.metrics_number = next(number for number in count() if number not in taken)
    worker.metrics_listener = getattr(server, "metrics_listener", None)


def _count_under_its_number(_server: Any, worker: Any) -> None:
    """Choose where metrics are counted, before the worker makes any."""
    values.ValueClass = values.MultiProcessValue(lambda: worker.metrics_number)


def _answer(worker: Any) -> None:
    """Answer on the listener, in a thread beside the worker's own."""
    if worker.metrics_listener is not None:
        server = MetricsServer(worker.metrics_listener, worker.wsgi.extensions[EXTENSION])
        Thread(target=server.serve_forever, args=(NEVER_STOPPED_SECONDS,), daemon=True).start()


def _remove(folder: str, master: int) -> None:
    """Remove the folder when the master ends; each worker, a copy of it, comes here as well."""
    if os.getpid() == master:
        shutil.rmtree(folder, ignore_errors=True)


class MetricsServer(HTTPServer):
    """Answers `GET /metrics` on a socket that somebody else has bound, one caller at a time."""

    def __init__(self, listener: socket.socket, metrics: Metrics) -> None:
        super().__init__(listener.getsockname()[:2], _Scrape, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.metrics = metrics

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Log what went wrong; the caller's connection is closed."""
        log.warning("could not show the metrics", exc_info=True)


class _Scrape(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = RECEIVE_TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Answer with all metrics."""
        if self.path.partition("?")[0] != METRICS_PATH:
            self.send_error(404)
            return
        text = self.server.metrics.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def version_string(self) -> str:
        """Return what the `Server` header tells: nothing of Python's version."""
        return "metrics"

    def log_message(self, *_arguments: object) -> None:
        """Log no line for each scrape: they come every few seconds."""
