"""The application: wires settings, vault, database, token source, bank client and views."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import requests
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider

from client_service.arrow_events import ArrowEventProcessor
from client_service.bank_client import BankClient
from client_service.cli import run_once_command, token_command
from client_service.history import History
from client_service.issuer_metadata import IssuerMetadata
from client_service.jobs import RECONCILE, registered_jobs
from client_service.listing_commands import jobs_command, runs_command
from client_service.problem_details import answer_with_problem_details
from client_service.run_views import run_views
from client_service.schedule import Lease, Schedule
from client_service.scheduler import Scheduler
from client_service.settings import ClientServiceSettings
from client_service.token_source import TokenSource
from client_service.trace_receiver import trace_receiver
from client_service.vault_credentials import VaultCredentials
from client_service.worker import Worker
from shared.database import Database, migrate_command
from shared.health import NotReadyError
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import TracingAdapter, span, tracer_provider
from shared.vault import VaultError, open_vault

SERVICE = "client_service"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class ClientService:
    """The parts that live as long as the process; they hang on ``app.extensions``."""

    settings: ClientServiceSettings
    database: Database
    provider: TracerProvider
    schedules: Mapping[str, Schedule]
    worker: Worker
    schedulers: Sequence[Scheduler]

    def start(self) -> None:
        """Start to take the ticks, if this process is to."""
        if self.settings.scheduler:
            for scheduler in self.schedulers:
                scheduler.start()

    def stop(self) -> None:
        """Take no further tick, let runs under way finish their page, and hand over the spans."""
        end = time.monotonic() + self.settings.stop_seconds
        for scheduler in self.schedulers:
            scheduler.take_no_more()
        self.worker.stop(self.settings.stop_seconds)
        for scheduler in self.schedulers:
            scheduler.stop(max(0.0, end - time.monotonic()))
        self.provider.shutdown()


def create_app(settings: ClientServiceSettings | None = None) -> Flask:
    """Return the application; it starts nothing (`wsgi.py` does)."""
    settings = settings or read_settings(ClientServiceSettings)
    database = Database(settings.database_url, settings.database_password)
    provider = tracer_provider(SERVICE)
    provider.add_span_processor(ArrowEventProcessor(database))
    credentials = VaultCredentials(open_vault(settings), settings.vault_entry)
    bank = bank_client(settings, provider, credentials)
    jobs = registered_jobs(settings, bank, database)
    schedules = {
        job.name: Schedule(
            database, job.name, ticks=job.ticks, lease_seconds=settings.lease_seconds
        )
        for job in jobs.values()
    }
    worker = Worker(jobs, schedules, provider)
    checks = {"database": database.check, "vault": _vault_check(credentials)}
    app = service_app(__name__, settings, provider, checks)
    answer_with_problem_details(app)
    app.register_blueprint(
        run_views(database, schedules[RECONCILE], worker, settings.patience_seconds)
    )
    if settings.receive_traces:
        app.register_blueprint(trace_receiver(database))
    history = History(database, settings.history_days)

    def work(lease: Lease) -> None:
        worker.work(lease)
        history.forget()

    schedulers = [Scheduler(one, work) for one in schedules.values() if one.ticks]
    service = ClientService(settings, database, provider, schedules, worker, schedulers)
    app.extensions[SERVICE] = service
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    app.cli.add_command(run_once_command(settings, database, provider, schedules, worker))
    app.cli.add_command(jobs_command(jobs, schedules))
    app.cli.add_command(runs_command(database, tuple(jobs)))
    app.cli.add_command(token_command(provider, bank.tokens))
    return app


def bank_client(
    settings: ClientServiceSettings, provider: TracerProvider, credentials: VaultCredentials
) -> BankClient:
    """Return the bank's client with its token source, as the settings name all of their parts."""
    metadata = IssuerMetadata(
        settings.issuer,
        traced_session(),
        settings.metadata_url,
        allow_plain_http=settings.transport == "plain-http",
    )
    token_url = settings.token_url
    tokens = TokenSource(
        token_url=metadata.token_endpoint if token_url is None else lambda: token_url,
        credentials=credentials,
        scope=settings.scope,
        resource=settings.resource,
        auth_method=settings.auth_method,
        default_lifetime=settings.default_token_lifetime,
        session=traced_session(),
        in_background=lambda work: _in_a_trace_of_its_own(work, provider),
    )
    account_url = settings.api_url.rstrip("/") + settings.account_path
    return BankClient(account_url, tokens, traced_session())


def traced_session() -> requests.Session:
    """Return a session whose requests carry the `traceparent` of the current span."""
    session = requests.Session()
    session.mount("http://", TracingAdapter())
    session.mount("https://", TracingAdapter())
    return session


def _in_a_trace_of_its_own(work: Callable[[], None], provider: TracerProvider) -> None:
    """Do ``work`` in a thread: an early renewal is no part of the run that noticed it is due."""

    def renew() -> None:
        with span(provider, "renew token"):
            work()

    Thread(target=renew, name="token renewal", daemon=True).start()


def _vault_check(credentials: VaultCredentials) -> Callable[[], None]:
    def check() -> None:
        try:
            credentials.read()
        except VaultError as error:
            raise NotReadyError(str(error)) from error

    return check
