"""The bank's token check around a view that returns a constant, and the same view without it.

The bank itself has no open route to compare with, and its views ask a database. Here is the rest of
it: its settings, its tracing, its headers, and its gunicorn, whose configuration serves this.
"""

from flask import Flask
from flask.typing import ResponseReturnValue

from resource_server.issuer_keys import IssuerKeys
from resource_server.settings import ResourceServerSettings
from resource_server.token_validation import TokenValidator, check_tokens, require_token
from shared.service_app import service_app
from shared.service_logging import configure_logging
from shared.settings import read_settings
from shared.tracing import tracer_provider


def _app() -> Flask:
    settings = read_settings(ResourceServerSettings)
    configure_logging("resource_server", settings.log_level)
    made = service_app(__name__, settings, tracer_provider("resource_server"), {})
    keys = IssuerKeys(settings.issuer)
    check_tokens(made, TokenValidator(settings.issuer, settings.resource, keys), "bench")
    made.add_url_rule("/open", "open", _balance)
    made.add_url_rule("/guarded", "guarded", require_token(scope="Read")(_balance))
    return made


def _balance() -> ResponseReturnValue:
    return {"balance": 100}


app = _app()
