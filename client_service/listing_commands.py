"""The commands `jobs list` and `runs list | show`: what is due when, and how it went."""

import json
import time
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import click

from client_service.arrow_events import events_of_run
from client_service.cli import told, told_of_the_database
from client_service.jobs import RegisteredJob
from client_service.models import Job
from client_service.runs import LATEST, find_run, latest_runs, run_fields, timestamp
from client_service.schedule import Schedule
from client_service.token_messages import told_by
from shared.database import Database

MOST_RUNS = 10_000

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def jobs_command(
    jobs: Mapping[str, RegisteredJob], schedules: Mapping[str, Schedule]
) -> click.Group:
    """Return the group `jobs`."""

    @click.group("jobs", help="The jobs of this service, and when they are due.")
    def group() -> None: ...

    @group.command("list", help="Tell each job: schedule, next tick, last tick done, who has it.")
    @as_json_option
    def list_jobs(as_json: bool) -> None:
        with told_of_the_database():
            listed = [_job_fields(job, schedules[job.name].state()) for job in jobs.values()]
        click.echo(json.dumps(listed) if as_json else "\n".join(map(_job_line, listed)))

    return group


def runs_command(database: Database, jobs: Collection[str]) -> click.Group:
    """Return the group `runs`."""

    @click.group("runs", help="The runs of the jobs, as long as they are kept.")
    def group() -> None: ...

    @group.command("list", help="Tell the last runs, the newest first.")
    @click.option("--job", type=click.Choice(list(jobs)), help="Of this job alone.")
    @click.option("--limit", type=click.IntRange(1, MOST_RUNS), default=LATEST, show_default=True)
    @as_json_option
    def list_runs(job: str | None, limit: int, as_json: bool) -> None:
        with told_of_the_database():
            runs = latest_runs(database, limit, job)
        if as_json:
            click.echo(json.dumps([run_fields(run) for run in runs]))
            return
        for run in runs:
            click.echo(f"{timestamp(run.started)} {run.job} by {run.trigger}: {told(run)}")

    @group.command("show", help="Tell the run RUN_ID, with the arrows that passed.")
    @click.argument("run_id", type=click.UUID)
    @as_json_option
    def show_run(run_id: UUID, as_json: bool) -> None:
        with told_of_the_database():
            run = find_run(database, str(run_id))
            if run is None:
                raise click.ClickException("there is no such run, or it is no longer kept")
            fields: dict[str, Any] = run_fields(run) | {"arrows": events_of_run(database, run)}
        if as_json:
            click.echo(json.dumps(fields))
            return
        click.echo(told(run))
        for name in ("job", "trigger", "due", "merged_ticks", "started", "ended", "trace_id"):
            click.echo(f"  {name}: {fields[name]}")
        for event in fields["arrows"]:
            click.echo(f"  {_arrow_line(event)}")

    return group


def _job_fields(job: RegisteredJob, state: Job | None) -> dict[str, object]:
    state = state or Job()
    following = job.ticks.following(time.time()) if job.ticks else None
    return {
        "name": job.name,
        "schedule": job.schedule,
        "next_due": timestamp(following),
        "done_due": timestamp(state.done_due),
        "last_success": timestamp(state.last_success),
        "owner": state.owner,
        "run_id": state.run_id,
        "cursor": state.cursor,
    }


def _job_line(fields: Mapping[str, object]) -> str:
    busy = f"; run {fields['run_id']} of {fields['owner']} is under way" if fields["owner"] else ""
    return (
        f"{fields['name']} ({fields['schedule']}): due {fields['next_due'] or 'on demand'}; last "
        f"success {fields['last_success'] or 'none'}{busy}"
    )


def _arrow_line(event: Mapping[str, object]) -> str:
    """Tell an arrow event; what another service reported may lack any of it."""
    what = f"arrow {event['arrow']}" if "arrow" in event else "no arrow"
    words = [str(event[part]) for part in ("name", "status", "error") if part in event]
    return told_by(f"{event['time']} {what}: {' '.join(words)} ({event['service']})")
