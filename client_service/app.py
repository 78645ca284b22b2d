"""The application: wires settings, vault, database, token source, bank client and views."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import requests
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider

from client_service.arrow_events import ArrowEventProcessor
from client_service.bank_answers import BankError
from client_service.bank_client import BankClient
from client_service.cli import control_token_command, run_once_command, token_command
from client_service.history import History
from client_service.issuer_metadata import IssuerMetadata
from client_service.jobs import RECONCILE, registered_jobs
from client_service.listing_commands import jobs_command, runs_command
from client_service.metrics import CountedRetries, RunMetrics, TokenMetrics
from client_service.private_key_jwt import private_key_jwt
from client_service.problem_details import answer_with_problem_details
from client_service.retries import Retries
from client_service.run_views import run_views
from client_service.schedule import Lease, Schedule
from client_service.scheduler import Scheduler
from client_service.settings import AuthMethod, ClientServiceSettings
from client_service.task import StoppedError, pause_unless_stopped
from client_service.token_messages import Authentication, client_secret_basic, client_secret_post
from client_service.token_renewal import DaemonTimer
from client_service.token_source import TokenSource
from client_service.vault_credentials import VAULT_PRIVATE_JWK, VaultCredentials
from client_service.worker import Worker
from shared.database import Database, migrate_command
from shared.health import NotReadyError
from shared.identifiers import VAULT_CLIENT_SECRET
from shared.metrics import EXTENSION, Metrics
from shared.openapi import openapi_blueprint
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import span, tracer_provider
from shared.tracing_adapter import TracingAdapter
from shared.vault import VaultError, open_vault

SERVICE = "client_service"
OPENAPI = Path(__file__).parent / "openapi.yaml"
PROOFS: Mapping[AuthMethod, str] = {
    "client_secret_basic": VAULT_CLIENT_SECRET,
    "client_secret_post": VAULT_CLIENT_SECRET,
    "private_key_jwt": VAULT_PRIVATE_JWK,
}
"""The field of the vault's entry with which a client proves itself, by its method."""
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
    tokens: TokenSource

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
        self.tokens.stop()
        self.worker.stop(self.settings.stop_seconds)
        for scheduler in self.schedulers:
            scheduler.stop(max(0.0, end - time.monotonic()))
        self.provider.shutdown()


def create_app(settings: ClientServiceSettings | None = None) -> Flask:
    """Return the application; it starts nothing (`wsgi.py` does)."""
    settings = settings or read_settings(ClientServiceSettings)
    database = Database(settings.database_url, settings.database_password)
    provider = tracer_provider(SERVICE, ArrowEventProcessor(database))
    credentials = VaultCredentials(
        open_vault(settings), settings.vault_entry, PROOFS[settings.auth_method]
    )
    metrics = Metrics()
    stopping = Event()
    bank = bank_client(settings, provider, credentials, TokenMetrics(metrics), stopping)
    jobs = registered_jobs(settings, bank, database)
    schedules = {
        job.name: Schedule(
            database, job.name, ticks=job.ticks, lease_seconds=settings.lease_seconds
        )
        for job in jobs.values()
    }
    counted = RunMetrics(metrics, database, jobs).count
    worker = Worker(jobs, schedules, provider, counted, stopping)
    checks = {"database": database.check, "vault": _vault_check(credentials)}
    schedulers: list[Scheduler] = []
    lives = {"schedulers": lambda: _check_all(schedulers)}
    app = service_app(__name__, settings, provider, checks, lives)
    app.extensions[EXTENSION] = metrics
    answer_with_problem_details(app)
    app.register_blueprint(
        run_views(
            database,
            schedules[RECONCILE],
            worker,
            settings.patience_seconds,
            settings.control_token,
        )
    )
    app.register_blueprint(openapi_blueprint(OPENAPI))
    if settings.receive_traces:
        # Here, as it needs Google's protobuf, and by default nobody sends us spans.
        from client_service.trace_receiver import trace_receiver

        app.register_blueprint(trace_receiver(database, SERVICE))
    history = History(database, settings.history_days)

    def work(lease: Lease) -> None:
        worker.work(lease)
        history.forget()

    schedulers += [Scheduler(one, work) for one in schedules.values() if one.ticks]
    service = ClientService(
        settings, database, provider, schedules, worker, schedulers, bank.tokens
    )
    app.extensions[SERVICE] = service
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    app.cli.add_command(run_once_command(settings, database, provider, schedules, worker))
    app.cli.add_command(jobs_command(jobs, schedules))
    app.cli.add_command(runs_command(database, tuple(jobs)))
    app.cli.add_command(token_command(provider, bank.tokens))
    app.cli.add_command(control_token_command(settings))
    return app


def bank_client(
    settings: ClientServiceSettings,
    provider: TracerProvider,
    credentials: VaultCredentials,
    metrics: TokenMetrics,
    stopping: Event,
) -> BankClient:
    """Return the bank's client with its token source, as the settings name all of their parts.

    Neither of them tries anything again once ``stopping`` is set.
    """
    sleep = pause_unless_stopped(stopping)
    metadata = IssuerMetadata(
        settings.issuer,
        traced_session(settings.ca_file),
        settings.metadata_url,
        allow_plain_http=settings.transport == "plain-http",
    )
    token_url = settings.token_url
    tokens = TokenSource(
        token_url=metadata.token_endpoint if token_url is None else lambda: token_url,
        credentials=credentials,
        scope=settings.scope,
        resource=settings.resource,
        authenticate=authentication(settings),
        default_lifetime=settings.default_token_lifetime,
        retries=CountedRetries(Retries(settings.token_retry_seconds, sleep=sleep), metrics),
        session=traced_session(settings.ca_file),
        timer=DaemonTimer(partial(_in_a_trace_of_its_own, provider)),
    )
    account_url = settings.api_url.rstrip("/") + settings.account_path
    retries = Retries(settings.api_retry_seconds, sleep=sleep, failure=BankError)
    return BankClient(account_url, tokens, traced_session(settings.ca_file), retries)


def authentication(settings: ClientServiceSettings) -> Authentication:
    """Return the method by which the client proves itself, as it is registered."""
    methods = {
        "client_secret_basic": client_secret_basic,
        "client_secret_post": client_secret_post,
        "private_key_jwt": private_key_jwt(settings.issuer),
    }
    return methods[settings.auth_method]


def traced_session(ca_file: Path | None = None) -> requests.Session:
    """Return a session whose requests carry the `traceparent` of the current span.

    It trusts the CA certificates in ``ca_file`` and no others; without one, the public ones.
    """
    session = requests.Session()
    session.verify = str(ca_file) if ca_file else True
    session.mount("http://", TracingAdapter())
    session.mount("https://", TracingAdapter())
    return session


def _in_a_trace_of_its_own(provider: TracerProvider, work: Callable[[], None]) -> None:
    """Do ``work``: an early renewal is no part of any run, and ends where the process stops."""
    with span(provider, "renew token"), suppress(StoppedError):
        work()


def _check_all(schedulers: Sequence[Scheduler]) -> None:
    for scheduler in schedulers:
        scheduler.check()


def _vault_check(credentials: VaultCredentials) -> Callable[[], None]:
    def check() -> None:
        try:
            credentials.read()
        except VaultError as error:
            raise NotReadyError(str(error)) from error

    return check
