"""What gunicorn loads, in the worker process: the application, and its scheduler started."""

import atexit

from client_service.app import SERVICE, ClientService, create_app
from client_service.settings import ClientServiceSettings
from shared.service_logging import configure_logging
from shared.settings import read_settings

settings = read_settings(ClientServiceSettings)
configure_logging(SERVICE, settings.log_level, settings.log_requests)
app = create_app(settings)

service: ClientService = app.extensions[SERVICE]
# After the fork: gunicorn loads this in its worker, and a thread does not survive a fork.
service.start()
atexit.register(service.stop)
