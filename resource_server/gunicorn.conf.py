"""gunicorn's settings; computed, so that they come from where all settings of the bank do."""
# ruff: noqa: N999, E402 - gunicorn looks for this name; `gc` is told before anything is loaded

import gc

gc.disable()  # until all is loaded: to look for garbage meanwhile makes a start a tenth longer

import resource_server.app  # noqa: F401 - before the fork: the workers share what it loads
from resource_server.settings import ResourceServerSettings
from shared.service_app import gunicorn_settings
from shared.settings import read_settings

globals().update(gunicorn_settings("resource_server", read_settings(ResourceServerSettings)))
