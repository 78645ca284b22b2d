"""How gunicorn serves the client service: `gunicorn -c client_service/gunicorn.conf.py …`."""
# ruff: noqa: N999 - the name is the one that gunicorn looks for

from client_service.settings import ClientServiceSettings
from shared.service_app import gunicorn_settings
from shared.settings import read_settings

# gunicorn takes the names of this module as its settings.
globals().update(gunicorn_settings("client_service", read_settings(ClientServiceSettings)))
# One worker whatever the setting says: token, connections and scheduler belong to the process, and
# a second one would ask for a token of its own and stand by for ticks that the first one takes.
workers = 1
