"""Wires the authorization server together."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Response, request

from auth_server.authorization_server import TokenServer
from auth_server.cli import command_groups
from auth_server.errors import register_error_handlers
from auth_server.metadata import metadata
from auth_server.registry import Registry
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import SigningKeys, signing_keys
from auth_server.token_endpoint import token_endpoint
from shared.database import Database, migrate_command
from shared.identifiers import TOKEN_PATH
from shared.openapi import openapi_blueprint
from shared.service_app import service_app
from shared.settings import read_settings
from shared.tracing import tracer_provider
from shared.vault import open_vault

SERVICE = "auth_server"
MIGRATIONS = Path(__file__).parent / "migrations"
OPENAPI = Path(__file__).parent / "openapi.yaml"


@dataclass(frozen=True, slots=True)
class AuthServer:
    """What the application holds, at `app.extensions["auth_server"]`."""

    settings: AuthServerSettings
    database: Database
    registry: Registry
    keys: SigningKeys


def create_app(
    settings: AuthServerSettings | None = None, now: Callable[[], float] = time.time
) -> Flask:
    """Return the application; without ``settings`` they are read. ``now`` is its clock."""
    settings = settings or read_settings(AuthServerSettings)
    database = Database(settings.database_url, settings.database_password)
    registry = Registry(database, now)
    keys = signing_keys(settings, database, now)
    checks = {"database": database.check, "signing_keys": keys.check}

    app = service_app(SERVICE, settings, tracer_provider(SERVICE), checks)
    app.url_map.merge_slashes = False  # a path is ours or unknown; nobody is redirected
    app.after_request(_never_keep_a_token)
    register_error_handlers(app)
    app.register_blueprint(token_endpoint(TokenServer(settings, keys, registry.find_client, now)))
    app.register_blueprint(metadata(settings, registry, keys))
    app.register_blueprint(openapi_blueprint(OPENAPI))
    for group in command_groups(registry, keys, open_vault(settings), now):
        app.cli.add_command(group)
    app.cli.add_command(migrate_command(database, MIGRATIONS))
    app.extensions[SERVICE] = AuthServer(settings, database, registry, keys)
    return app


def _never_keep_a_token(response: Response) -> Response:
    """Mark every answer of the token endpoint, errors too (RFC 6749 §5.1, MUST)."""
    if request.path == TOKEN_PATH:
        response.headers["Cache-Control"] = "no-store"
        response.headers["Pragma"] = "no-cache"
    return response
