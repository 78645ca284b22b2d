"""The bank's application: wiring, and no rule."""

from datetime import timedelta
from pathlib import Path

from flask import Flask

from resource_server.account import accounts
from resource_server.cli import register_commands
from resource_server.introspection import TokenIntrospection
from resource_server.issuer_keys import (
    CacheRules,
    ImpatientAdapter,
    Issuer,
    IssuerKeys,
    impatient_session,
)
from resource_server.metadata import resource_metadata, url_of_metadata
from resource_server.payments import take_payments
from resource_server.problem_details import answer_with_problem_details
from resource_server.settings import ResourceServerSettings
from resource_server.token_validation import (
    EXTENSION,
    RememberedTokens,
    TokenValidator,
    Validator,
    check_tokens,
)
from shared.database import Database, migrate_command
from shared.openapi import openapi_blueprint
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import tracer_provider
from shared.tracing_adapter import TracingAdapter

MIGRATIONS = Path(__file__).parent / "migrations"
OPENAPI = Path(__file__).parent / "openapi.yaml"


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
    check_tokens(app, _validator(settings), settings.realm, url_of_metadata(settings))
    answer_with_problem_details(app)
    app.register_blueprint(resource_metadata(settings))
    app.register_blueprint(accounts)
    take_payments(app, database, timedelta(hours=settings.idempotency_key_hours))
    app.register_blueprint(openapi_blueprint(OPENAPI))
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    register_commands(app, database)
    return app


def fetch_keys_early(app: Flask) -> None:
    """Begin to fetch what ``app`` will check tokens with; call it after the last fork."""
    validator = app.extensions[EXTENSION].validator
    if isinstance(validator, TokenValidator) and isinstance(validator.keys, IssuerKeys):
        validator.keys.fetch_early()


def _validator(settings: ResourceServerSettings) -> Validator:
    if settings.token_check == "introspection":  # noqa: S105 - a way to check, no password
        return _token_introspection(settings)
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
        ),
        algorithms=settings.algorithms,
        leeway_seconds=settings.leeway_seconds,
        remembered=RememberedTokens(settings.remembered_tokens),
    )


def _token_introspection(settings: ResourceServerSettings) -> TokenIntrospection:
    client_id, secret = settings.introspection_client_id, settings.introspection_client_secret
    assert client_id is not None, "the settings have it where they say `introspection`"
    assert secret is not None, "the same"
    session = impatient_session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _TracedAdapter())
    return TokenIntrospection(
        Issuer(settings.issuer, settings.metadata_url, settings.issuer_timeout_seconds, session),
        settings.resource,
        client_id,
        secret.get_secret_value(),
        settings.leeway_seconds,
    )


class _TracedAdapter(TracingAdapter, ImpatientAdapter):
    """Lets the question about a token be part of the trace of the request that brought it."""
