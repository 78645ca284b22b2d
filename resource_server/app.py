"""The bank's application: wiring, and no rule."""

from datetime import timedelta
from pathlib import Path

import requests
from flask import Flask

from resource_server.account import accounts
from resource_server.cli import register_commands
from resource_server.issuer_keys import CacheRules, IssuerKeys
from resource_server.payments import take_payments
from resource_server.problem_details import answer_with_problem_details
from resource_server.settings import ResourceServerSettings
from resource_server.token_validation import TokenValidator, check_tokens
from shared.database import Database, migrate_command
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import TracingAdapter, tracer_provider

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(settings: ResourceServerSettings | None = None) -> Flask:
    """Return the bank, with the settings given or else read.

    Ready is who reaches the database. The issuer is not asked: with its keys kept, the bank
    works while the issuer does not.
    """
    settings = settings or read_settings(ResourceServerSettings)
    database = Database(settings.database_url, settings.database_password)
    app = service_app(
        __name__, settings, tracer_provider("resource_server"), {"database": database.check}
    )
    app.url_map.merge_slashes = False  # a path with two slashes is another path: 404, no redirect
    app.extensions["resource_server"] = database
    check_tokens(app, _token_validator(settings), settings.realm)
    answer_with_problem_details(app)
    app.register_blueprint(accounts)
    take_payments(app, database, timedelta(hours=settings.idempotency_key_hours))
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    register_commands(app, database)
    return app


def _token_validator(settings: ResourceServerSettings) -> TokenValidator:
    return TokenValidator(
        issuer=settings.issuer,
        audience=settings.resource,
        keys=IssuerKeys(
            settings.issuer,
            settings.metadata_url,
            CacheRules(
                shortest=settings.key_cache_min_seconds,
                longest=settings.key_cache_max_seconds,
                cooldown=settings.key_cooldown_seconds,
                outage=settings.key_outage_seconds,
                timeout=settings.issuer_timeout_seconds,
            ),
            _traced_session(),
        ),
        algorithms=settings.algorithms,
        leeway_seconds=settings.leeway_seconds,
    )


def _traced_session() -> requests.Session:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, TracingAdapter())
    return session
