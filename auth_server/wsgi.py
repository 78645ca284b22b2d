"""The application as gunicorn loads it: `auth_server.wsgi:app`."""

from auth_server.app import SERVICE, create_app
from auth_server.settings import AuthServerSettings
from shared.service_logging import configure_logging
from shared.settings import read_settings

settings = read_settings(AuthServerSettings)
configure_logging(SERVICE, settings.log_level, settings.log_requests)
app = create_app(settings)
