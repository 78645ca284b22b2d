"""Runs: what one is, where it stands, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import select

from client_service.models import Run
from client_service.task import Report
from shared.database import Database

LATEST = 50


class RunStatus(StrEnum):
    """Where a run stands; `interrupted` is one whose worker stopped or died before its end."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Trigger(StrEnum):
    """Why a run is."""

    SCHEDULE = "schedule"
    REQUEST = "request"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: with a report, or with an error (`401 invalid_client`) and its detail."""

    status: RunStatus
    report: Report | None = None
    error: str | None = None
    detail: str | None = None


def columns_of(outcome: Outcome) -> dict[str, object]:
    """Return what a run's row says of how it ended."""
    report = outcome.report
    return {
        "status": outcome.status,
        "error": outcome.error,
        "detail": report.sentence if report else outcome.detail,
        "result": report.result if report else None,
    }


def latest_runs(database: Database, count: int = LATEST, job: str | None = None) -> Sequence[Run]:
    """Return the last ``count`` runs, of ``job`` or of all, the newest first."""
    newest_first = select(Run).order_by(Run.started.desc(), Run.id).limit(count)
    with database.reading() as session:
        return session.scalars(newest_first.where(Run.job == job) if job else newest_first).all()


def find_run(database: Database, run_id: str) -> Run | None:
    """Return the run with that id, if there is one."""
    with database.reading() as session:
        return session.get(Run, run_id)


def run_fields(run: Run) -> dict[str, object]:
    """Return a run as it is told in JSON: times in UTC, the result in its job's form."""
    return {
        "id": run.id,
        "job": run.job,
        "trigger": run.trigger,
        "due": timestamp(run.due),
        "merged_ticks": run.merged_ticks,
        "merged_since": timestamp(run.merged_since),
        "trace_id": run.trace_id,
        "status": run.status,
        "error": run.error,
        "detail": run.detail,
        "started": timestamp(run.started),
        "ended": timestamp(run.ended),
        "result": run.result,
    }


def timestamp(seconds: float | None) -> str | None:
    """Return a moment in RFC 3339's form, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
