"""The command line: `flask --app client_service.app run-once | token`."""

import json
import logging

import click
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import SQLAlchemyError

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
    schedule: Schedule,
    worker: Worker,
) -> click.Command:
    """Return the command that does one run in its own process.

    The run goes to standard output, the log to standard error. Exit code 0: it succeeded; 1: it
    failed, or there was none, as the job was busy or the database away.
    """

    @click.command("run-once", help="Do one run now, in this process, and tell how it went.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    def run_once(as_json: bool) -> None:
        configure_logging(SERVICE, settings.log_level)
        try:
            lease = schedule.take_soon(Trigger.COMMAND, settings.wait_seconds)
            if lease is None:
                raise click.ClickException(
                    f"another run holds the job, after {settings.wait_seconds:g} s of waiting still"
                )
            _work_and_log(worker, lease)
            run = find_run(database, lease.run_id)
        except SQLAlchemyError as error:
            raise click.ClickException(
                f"the database cannot be used ({type(error).__name__}); "
                "has `flask --app client_service.app migrate` been run?"
            ) from error
        finally:
            provider.shutdown()  # hands over the spans that wait to be exported
        assert run is not None
        click.echo(json.dumps(run_fields(run)) if as_json else told(run))
        if run.status != RunStatus.SUCCEEDED:
            raise SystemExit(1)

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
    start = f"run {run.id} {run.status}"
    if run.balance is None or run.entry_sum is None:
        return f"{start}: {run.error}" + (f" ({run.detail})" if run.detail else "")
    difference = run.balance - run.entry_sum
    result = f"is off by {difference}" if difference else "is balanced"
    return (
        f"{start}: account {run.account_id} {result}; {run.transactions_read} transactions read, "
        f"balance {run.balance} {run.currency} (minor units)"
    )
