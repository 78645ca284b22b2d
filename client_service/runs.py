"""Runs: what one is, where it stands, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import select

from client_service.models import Run
from client_service.reconciliation import Reconciliation
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
    """How a run ended: with a result, or with an error (`401 invalid_client`) and its detail."""

    status: RunStatus
    result: Reconciliation | None = None
    error: str | None = None
    detail: str | None = None


def latest_runs(database: Database, count: int = LATEST) -> Sequence[Run]:
    """Return the last ``count`` runs, the newest first."""
    with database.reading() as session:
        newest_first = select(Run).order_by(Run.started.desc(), Run.id).limit(count)
        return session.scalars(newest_first).all()


def find_run(database: Database, run_id: str) -> Run | None:
    """Return the run with that id, if there is one."""
    with database.reading() as session:
        return session.get(Run, run_id)


def run_fields(run: Run) -> dict[str, object]:
    """Return a run as it is told in JSON: times in UTC, amounts in minor units."""
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
        "result": _result_fields(run),
    }


def timestamp(seconds: float | None) -> str | None:
    """Return a moment in RFC 3339's form, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _result_fields(run: Run) -> dict[str, object] | None:
    if run.balance is None or run.entry_sum is None:
        return None
    return {
        "account_id": run.account_id,
        "currency": run.currency,
        "transactions_read": run.transactions_read,
        "sum": run.entry_sum,
        "balance": run.balance,
        "as_of": run.as_of,
        "balanced": run.balance == run.entry_sum,
        "difference": run.balance - run.entry_sum,
    }
