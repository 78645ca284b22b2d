"""Wires the authorization server together."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, request

from auth_server.audit import audit_requests, noting_who_asks
from auth_server.authorization_server import TokenServer
from auth_server.cli import command_groups
from auth_server.client_authentication import ClientAuthentication
from auth_server.client_authentication.authenticated import Authentication
from auth_server.client_authentication.private_key_jwt import assertion_check
from auth_server.errors import PATHS_FOR_CLIENTS, register_error_handlers
from auth_server.introspection import introspection
from auth_server.issued_tokens import IssuedTokens
from auth_server.metadata import metadata
from auth_server.metrics import AuthServerMetrics, counting_hits, measure_token_requests
from auth_server.registry import Registry
from auth_server.revocation import revocation
from auth_server.secret_use import SECONDS_PER_DAY, note_after_the_answer
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import SigningKeys, signing_keys
from auth_server.throttling import ThrottledAuthentication, failure_counts
from auth_server.token_endpoint import token_endpoint
from shared.database import Database, migrate_command
from shared.openapi import openapi_blueprint
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import tracer_provider
from shared.vault import open_vault

SERVICE = "auth_server"
MIGRATIONS = Path(__file__).parent / "migrations"
OPENAPI = Path(__file__).parent / "openapi.yaml"

NEVER_KEPT = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
"""What marks every answer to a client, errors too (RFC 6749 §5.1, MUST; RFC 7662 §4)."""


@dataclass(frozen=True, slots=True)
class AuthServer:
    """What the application holds, at `app.extensions["auth_server"]`."""

    settings: AuthServerSettings
    database: Database
    registry: Registry
    keys: SigningKeys
    authentication: Authentication
    metrics: AuthServerMetrics


def create_app(
    settings: AuthServerSettings | None = None, now: Callable[[], float] = time.time
) -> Flask:
    """Return the application; without ``settings`` they are read. ``now`` is its clock."""
    settings = settings or read_settings(AuthServerSettings)
    database = Database(settings.database_url, settings.database_password)
    registry = Registry(database, now, settings.client_cache_seconds)
    keys = signing_keys(settings, database, now)
    metrics = AuthServerMetrics(keys, now)
    warning_seconds = settings.secret_end_warning_days * SECONDS_PER_DAY
    metrics.show_ends_of_secrets(lambda: registry.secrets.ends_before(now() + warning_seconds))
    authentication = ThrottledAuthentication(
        ClientAuthentication(
            noting_who_asks(registry.find_client),
            assertion_check(settings, database, now),
            now,
            counting_hits(registry.kept_client, metrics),
            note_after_the_answer(settings, registry, now),
        ),
        failure_counts(settings),
        lambda: request.remote_addr,
    )
    tokens = IssuedTokens(settings.issuer, keys, database, now)
    checks = {"database": database.check, "signing_keys": keys.check}

    no_store = dict.fromkeys(PATHS_FOR_CLIENTS, NEVER_KEPT)
    provider = tracer_provider(SERVICE)
    app = service_app(SERVICE, settings, provider, checks, headers_of_paths=no_store)
    app.url_map.merge_slashes = False  # a path is ours or unknown; nobody is redirected
    register_error_handlers(app)
    audit_requests(app)
    measure_token_requests(app, metrics)
    app.register_blueprint(token_endpoint(TokenServer(settings, keys, authentication, now)))
    app.register_blueprint(introspection(authentication, tokens))
    app.register_blueprint(revocation(authentication, tokens))
    app.register_blueprint(metadata(settings, registry, keys))
    app.register_blueprint(openapi_blueprint(OPENAPI))
    for group in command_groups(registry, keys, open_vault(settings), settings, now):
        app.cli.add_command(group)
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    app.extensions[SERVICE] = AuthServer(
        settings, database, registry, keys, authentication, metrics
    )
    return app
