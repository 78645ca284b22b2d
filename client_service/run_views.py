"""The views of runs: a plain page for people, JSON for programs, and `POST /runs` to start one."""

import base64
import hashlib
import logging
from pathlib import Path
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    abort,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from client_service import control
from client_service.arrow_events import events_of_run
from client_service.problem_details import DATABASE_AWAY, problem
from client_service.runs import Trigger, find_run, latest_runs, run_fields
from client_service.schedule import Schedule
from client_service.worker import Worker
from shared.database import Database
from shared.database_outage import unavailable

log = logging.getLogger(__name__)

STYLE = (Path(__file__).parent / "templates" / "runs.css").read_text("utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def run_views(
    database: Database,
    schedule: Schedule,
    worker: Worker,
    patience_seconds: float,
    control_token: SecretStr | None,
) -> Blueprint:
    """Return the views; the page's own style is all that its content policy lets in.

    ``patience_seconds``: how long `POST /runs` waits for a run under way to end.
    ``control_token``: what its form has to hold; None: it starts none.
    """
    views = Blueprint("runs", __name__, template_folder="templates")

    @views.get("/")
    def page() -> ResponseReturnValue:
        """Show the last runs; without a database, say so."""
        return show_page(200)

    def show_page(status: int, refused: str | None = None) -> Response:
        values = {"refused": refused, "may_start": control_token is not None}
        try:
            runs = [run_fields(run) for run in latest_runs(database)]
        except SQLAlchemyError as error:
            return unavailable(error, lambda: _page(503, runs=[], problem=DATABASE_AWAY, **values))
        return _page(status, runs=runs, problem=None, **values)

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
        refused = control.refusal(control_token)
        if refused is not None:
            log.warning("no run is started for %s: %s", request.remote_addr, refused)
            return refuse(403, refused)
        lease = schedule.take_soon(Trigger.REQUEST, patience_seconds)
        if lease is None:
            return refuse(409, "a run is under way; try again when it has ended")
        worker.work_in_background(lease)
        if control.wants_a_page():
            return redirect(url_for("runs.page"), 303)
        answer = jsonify(id=lease.run_id, status="running")
        answer.headers["Location"] = url_for("runs.show_run", run_id=lease.run_id)
        return answer, 202

    def refuse(status: int, why: str) -> Response:
        return show_page(status, why) if control.wants_a_page() else problem(status, why)

    return views


def _page(status: int, **values: object) -> Response:
    page = render_template("runs.html", style=Markup(STYLE), **values)  # noqa: S704 - our own file
    answer = make_response(page, status)
    answer.headers["Content-Security-Policy"] = PAGE_POLICY
    # By `no-referrer` a browser sends our own form as from the origin `null` (Fetch §3.1).
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer
