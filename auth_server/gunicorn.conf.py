"""gunicorn's configuration; it is read once, before any worker is forked.

gunicorn takes its settings from the names of this module, so the shared ones are put there.
"""
# ruff: noqa: N999, E402 - gunicorn looks for this name; `gc` is told before anything is loaded

import gc

gc.disable()  # until all is loaded: to look for garbage meanwhile makes a start a tenth longer

import auth_server.app  # noqa: F401 - before the fork: the workers share what it loads
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import refuse_wrong_key_encryption
from shared.service_app import gunicorn_settings
from shared.settings import read_settings

_settings = read_settings(AuthServerSettings)
globals().update(gunicorn_settings("auth_server", _settings))
# Here, as a worker that stops at its start would be started again and again.
refuse_wrong_key_encryption(_settings)
