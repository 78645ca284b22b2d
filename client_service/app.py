"""The application: wires settings, vault, database, token source, bank client and views."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import requests
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider

from client_service.arrow_events import ArrowEventProcessor
from client_service.bank_client import BankClient
from client_service.cli import run_once_command, token_command
from client_service.issuer_metadata import IssuerMetadata
from client_service.private_key_jwt import private_key_jwt
from client_service.problem_details import answer_with_problem_details
from client_service.run_views import run_views
from client_service.schedule import Schedule, Scheduler
from client_service.settings import AuthMethod, ClientServiceSettings
from client_service.token_messages import Authentication, client_secret_basic, client_secret_post
from client_service.token_retries import Retries
from client_service.token_source import TokenSource
from client_service.trace_receiver import trace_receiver
from client_service.vault_credentials import VAULT_PRIVATE_JWK, VaultCredentials
from client_service.worker import Worker
from shared.database import Database, migrate_command
from shared.health import NotReadyError
from shared.identifiers import VAULT_CLIENT_SECRET
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import TracingAdapter, span, tracer_provider
from shared.vault import VaultError, open_vault

SERVICE = "client_service"
JOB = "reconciliation"
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
    schedule: Schedule
    worker: Worker
    scheduler: Scheduler

    def start(self) -> None:
        """Start to take the ticks, if this process is to."""
        if self.settings.scheduler and self.settings.interval_seconds:
            self.scheduler.start()

    def stop(self) -> None:
        """Take no further tick, let the run under way finish its page, and hand over the spans."""
        self.scheduler.take_no_more()
        self.worker.stop(self.settings.stop_seconds)
        self.scheduler.stop(self.settings.stop_seconds)
        self.provider.shutdown()


def create_app(settings: ClientServiceSettings | None = None) -> Flask:
    """Return the application; it starts nothing (`wsgi.py` does)."""
    settings = settings or read_settings(ClientServiceSettings)
    database = Database(settings.database_url, settings.database_password)
    provider = tracer_provider(SERVICE)
    provider.add_span_processor(ArrowEventProcessor(database))
    credentials = VaultCredentials(
        open_vault(settings), settings.vault_entry, PROOFS[settings.auth_method]
    )
    schedule = Schedule(
        database,
        JOB,
        interval_seconds=settings.interval_seconds,
        lease_seconds=settings.lease_seconds,
    )
    bank = bank_client(settings, provider, credentials)
    worker = Worker(schedule, bank, provider)
    checks = {"database": database.check, "vault": _vault_check(credentials)}
    app = service_app(__name__, settings, provider, checks)
    answer_with_problem_details(app)
    app.register_blueprint(run_views(database, schedule, worker, settings.patience_seconds))
    if settings.receive_traces:
        app.register_blueprint(trace_receiver(database))
    service = ClientService(
        settings, database, provider, schedule, worker, Scheduler(schedule, worker.work)
    )
    app.extensions[SERVICE] = service
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    app.cli.add_command(run_once_command(settings, database, provider, schedule, worker))
    app.cli.add_command(token_command(provider, bank.tokens))
    return app


def bank_client(
    settings: ClientServiceSettings, provider: TracerProvider, credentials: VaultCredentials
) -> BankClient:
    """Return the bank's client with its token source, as the settings name all of their parts."""
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
        retries=Retries(settings.token_retry_seconds),
        session=traced_session(settings.ca_file),
        in_background=lambda work: _in_a_trace_of_its_own(work, provider),
    )
    account_url = settings.api_url.rstrip("/") + settings.account_path
    return BankClient(account_url, tokens, traced_session(settings.ca_file))


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
