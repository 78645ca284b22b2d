"""What gunicorn imports: `resource_server.wsgi:app`."""

from resource_server.app import create_app, fetch_keys_early
from resource_server.settings import ResourceServerSettings
from shared.service_logging import configure_logging
from shared.settings import read_settings

settings = read_settings(ResourceServerSettings)
configure_logging("resource_server", settings.log_level, settings.log_requests)
app = create_app(settings)
fetch_keys_early(app)
