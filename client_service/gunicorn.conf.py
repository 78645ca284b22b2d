"""How gunicorn serves the client service: `gunicorn -c client_service/gunicorn.conf.py …`."""
# ruff: noqa: N999, E402 - gunicorn looks for this name; `gc` is told before anything is loaded

import gc
import math

gc.disable()  # until all is loaded: to look for garbage meanwhile makes a start a tenth longer

import client_service.app  # noqa: F401 - before the fork: the workers share what it loads
from client_service.settings import ClientServiceSettings
from shared.service_app import gunicorn_settings
from shared.settings import read_settings

SECONDS_BESIDE_THE_RUN = 10  # for the requests under way, and to hand over the spans

settings = read_settings(ClientServiceSettings)
# gunicorn takes the names of this module as its settings.
globals().update(gunicorn_settings("client_service", settings))
# When they are over it kills the worker, and a run that may take longer to stop with it.
graceful_timeout = math.ceil(settings.stop_seconds) + SECONDS_BESIDE_THE_RUN
