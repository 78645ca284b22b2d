"""The command line: `flask --app client_service.app run-once | token | control-token`."""

import json
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import SQLAlchemyError

from client_service.control import NOT_SET
from client_service.jobs import RECONCILE
from client_service.models import Run
from client_service.runs import RunStatus, Trigger, find_run, run_fields
from client_service.schedule import Lease, Schedule
from client_service.settings import ClientServiceSettings
from client_service.token_messages import TokenError
from client_service.token_source import TokenSource
from client_service.worker import Worker
from shared.database import Database
from shared.service_logging import configure_logging
from shared.tracing import span

log = logging.getLogger(__name__)

SERVICE = "client_service"


def run_once_command(
    settings: ClientServiceSettings,
    database: Database,
    provider: TracerProvider,
    schedules: Mapping[str, Schedule],
    worker: Worker,
) -> click.Command:
    """Return the command that does one run in its own process.

    The run goes to standard output, the log to standard error. Exit code 0: it succeeded; 1: it
    failed, or there was none, as the job was busy or the database away.
    """

    @click.command("run-once", help="Do one run of JOB now, in this process, and tell how it went.")
    @click.argument("job", type=click.Choice(list(schedules)), default=RECONCILE)
    @click.option("--dry-run", is_flag=True, help="Read and check, but take and store nothing.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    def run_once(job: str, dry_run: bool, as_json: bool) -> None:
        configure_logging(SERVICE, settings.log_level, settings.log_requests)
        try:
            with told_of_the_database(), stopped_by_sigterm(worker):
                run = worker.try_out(job) if dry_run else do_run(job)
        finally:
            provider.shutdown()  # hands over the spans that wait to be exported
        click.echo(json.dumps(run_fields(run)) if as_json else told(run))
        if run.status != RunStatus.SUCCEEDED:
            raise SystemExit(1)

    def do_run(job: str) -> Run:
        lease = schedules[job].take_soon(Trigger.COMMAND, settings.wait_seconds)
        if lease is None:
            raise click.ClickException(
                f"another run holds the job, after {settings.wait_seconds:g} s of waiting still"
            )
        _work_and_log(worker, lease)
        run = find_run(database, lease.run_id)
        assert run is not None
        return run

    return run_once


def token_command(provider: TracerProvider, tokens: TokenSource) -> click.Command:
    """Return the command that prints a fresh access token, for a call by hand."""

    @click.command("token", help="Print a fresh access token, and nothing else.")
    def print_token() -> None:
        configure_logging(SERVICE, "WARNING")
        try:
            with span(provider, "print token"):
                click.echo(tokens.token().value)
        except TokenError as error:
            raise click.ClickException(str(error)) from error
        finally:
            provider.shutdown()

    return print_token


def control_token_command(settings: ClientServiceSettings) -> click.Command:
    """Return the command that prints what `POST /runs` and the page ask for."""

    @click.command("control-token", help="Print the control token of `POST /runs`, nothing else.")
    def print_control_token() -> None:
        if settings.control_token is None:
            raise click.ClickException(NOT_SET)
        click.echo(settings.control_token.get_secret_value().strip())

    return print_control_token


def _work_and_log(worker: Worker, lease: Lease) -> None:
    """Work on the run; where a bug ends it, it is stored as failed, and the log has the bug."""
    try:
        worker.work(lease)
    except SQLAlchemyError:
        raise
    except Exception:
        log.exception("run %s ended in an error nobody expected", lease.run_id)


def told(run: Run) -> str:
    """Return one line for a person: how the run ended."""
    what = f"run {run.id}" if run.id else f"dry run of {run.job}"
    if run.error is None:
        return f"{what} {run.status}: {run.detail or 'it said nothing'}"
    return f"{what} {run.status}: {run.error}" + (f" ({run.detail})" if run.detail else "")


@contextmanager
def told_of_the_database() -> Iterator[None]:
    """Turn what the database refuses into one line for the person at the terminal."""
    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(
            f"the database cannot be used ({type(error).__name__}); "
            "has `flask --app client_service.app migrate` been run?"
        ) from error


@contextmanager
def stopped_by_sigterm(worker: Worker) -> Iterator[None]:
    """End the run after the page in hand where the process is told to stop, as a service does."""
    before = signal.signal(signal.SIGTERM, lambda *_: worker.take_no_page_more())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
