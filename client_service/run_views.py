"""The views of runs: a plain page for people, JSON for programs, and `POST /runs` to start one."""

import base64
import hashlib
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    abort,
    jsonify,
    make_response,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError

from client_service.arrow_events import events_of_run
from client_service.problem_details import DATABASE_AWAY, problem
from client_service.runs import Trigger, find_run, latest_runs, run_fields
from client_service.schedule import Schedule
from client_service.worker import Worker
from shared.database import Database
from shared.database_outage import unavailable

STYLE = (Path(__file__).parent / "templates" / "runs.css").read_text("utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'"


def run_views(
    database: Database, schedule: Schedule, worker: Worker, patience_seconds: float
) -> Blueprint:
    """Return the views; the page's own style is all that its content policy lets in.

    ``patience_seconds``: how long `POST /runs` waits for a run under way to end.
    """
    views = Blueprint("runs", __name__, template_folder="templates")

    @views.get("/")
    def page() -> ResponseReturnValue:
        """Show the last runs; without a database, say so."""
        try:
            runs = [run_fields(run) for run in latest_runs(database)]
        except SQLAlchemyError as error:
            return unavailable(error, lambda: _page(503, runs=[], problem=DATABASE_AWAY))
        return _page(200, runs=runs, problem=None)

    @views.get("/runs")
    def list_runs() -> ResponseReturnValue:
        """Tell the last runs, the newest first."""
        return jsonify(runs=[run_fields(run) for run in latest_runs(database)])

    @views.get("/runs/<uuid:run_id>")
    def show_run(run_id: UUID) -> ResponseReturnValue:
        """Tell one run, with the arrow events of its trace that have arrived so far."""
        run = find_run(database, str(run_id))
        if run is None:
            abort(404, "there is no such run")
        return jsonify({**run_fields(run), "arrows": events_of_run(database, run)})

    @views.post("/runs")
    def start_run() -> ResponseReturnValue:
        """Start a run in the background, after the one under way; 409 where that takes long."""
        _refuse_other_origins()
        lease = schedule.take_soon(Trigger.REQUEST, patience_seconds)
        if lease is None:
            return problem(409, "a run is under way; try again when it has ended")
        worker.work_in_background(lease)
        answer = jsonify(id=lease.run_id, status="running")
        answer.headers["Location"] = url_for("runs.show_run", run_id=lease.run_id)
        return answer, 202

    return views


def _page(status: int, **values: object) -> Response:
    page = render_template("runs.html", style=Markup(STYLE), **values)  # noqa: S704 - our own file
    answer = make_response(page, status)
    answer.headers["Content-Security-Policy"] = PAGE_POLICY
    return answer


def _refuse_other_origins() -> None:
    """Let no other web page start a run: a browser says where a request comes from.

    Programs send neither header. This is no authentication: who reaches the port may start a run.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if site not in {"same-origin", "none"} or (origin is not None and not _is_own(origin)):
        abort(403, "a page of another origin may not start a run")


def _is_own(origin: str) -> bool:
    """Tell whether ``origin`` has our host and port; its scheme may be that of a proxy in front."""
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False
